/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/*
 * The program under a supervisor in a bench: its first instructions note when they ran.
 *
 *   stamp FILE [WORD...]    appends "CLOCK_MONOTONIC-ns pid", and waits for a signal
 */
int main(int argc, char **argv)
{
	struct timespec now;
	char line[64];
	int fd, n;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc < 2)
		return 2;
	n = snprintf(line, sizeof(line), "%lld %d\n",
		     (long long)now.tv_sec * 1000000000 + now.tv_nsec, (int)getpid());
	fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0666);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		return 1;
	close(fd);
	for (;;)
		pause();
}
