/* SPDX-License-Identifier: MIT */
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The least that a supervisor can do: waitpid and posix_spawn, for ever.
 *
 *   respawn COMMAND [WORD...]
 */
int main(int argc, char **argv)
{
	pid_t pid;

	if (argc < 2)
		return 2;
	for (;;) {
		if (posix_spawn(&pid, argv[1], NULL, NULL, argv + 1, environ) != 0)
			return 1;
		while (waitpid(pid, NULL, 0) != pid)
			continue;
	}
}
