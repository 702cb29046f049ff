/* SPDX-License-Identifier: MIT */
#include "supd/engine/confine.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>

#ifdef SUPD_HAVE_SECCOMP
#include <seccomp.h>
#include <sys/socket.h>

/*
 * A list of what is refused, not of what is allowed: the engine is linked with a libc, libev,
 * libsodium and jansson that may change their ways with every update of the distribution, and an
 * allow-list that kills the head of a cluster after an upgrade would be a worse fault than those
 * it guards against.  What is refused is what an intruder needs to get from a process without any
 * capability to anything else, and what an engine must not do even by mistake (it never forks).
 */
static const int refused[] = {
	/* processes and programs */
	SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(clone), SCMP_SYS(clone3),
	SCMP_SYS(execve), SCMP_SYS(execveat),
	/* other processes */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(process_madvise),
	/* sockets: those of net and the keeper are all there is, but for asking a program by TCP */
	SCMP_SYS(bind),
	/* namespaces and mounts */
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(setns), SCMP_SYS(unshare),
	SCMP_SYS(chroot), SCMP_SYS(pivot_root), SCMP_SYS(open_tree), SCMP_SYS(move_mount),
	SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(fsconfig), SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	/* the kernel */
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
	SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
	SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(acct),
};

/* AF_UNIX: connect() must not reach the other daemons of this host. */
static const int refused_families[] = { AF_NETLINK, AF_PACKET, AF_UNIX };

static int fill(scmp_filter_ctx ctx)
{
	int r;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < sizeof(refused_families) / sizeof(refused_families[0]); i++) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)refused_families[i]));
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (ctx == NULL)
		return -ENOMEM;
	r = fill(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
#else
static int load_filter(void)
{
	return -ENOSYS;
}
#endif

int confine(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return load_filter();
}
