/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_RAWSYS_H
#define SUPD_KEEPER_RAWSYS_H

#include <linux/sched.h>
#include <stddef.h>
#include <sys/syscall.h>

/*
 * System calls without libc.  A child made with CLONE_VM runs in the keeper's memory: it shares
 * errno, the heap and the locks with it, and may use none of them.
 *
 * RAW_CODE: no sanitizer may look at a stack that it does not know.
 */
#define RAW_CODE __attribute__((no_sanitize("address", "undefined")))

#if defined(__x86_64__)

RAW_CODE static inline long raw_call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * clone3 onto the stack of `args`; the child calls fn(arg), which must not return.  Both stand in
 * named registers: left to the compiler, one may be rbp, which the child clears (the end of the
 * chain of frames) before it has read it.
 */
RAW_CODE static inline long raw_clone3(struct clone_args *args, void (*fn)(void *), void *arg)
{
	register void (*r8)(void *) __asm__("r8") = fn;
	register void *r9 __asm__("r9") = arg;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r9, %%rdi\n\t"
			 "call *%%r8\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof(*args)), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

#elif defined(__aarch64__)

RAW_CODE static inline long raw_call(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory", "cc");
	return x0;
}

RAW_CODE static inline long raw_clone3(struct clone_args *args, void (*fn)(void *), void *arg)
{
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof(*args);
	register void (*x2)(void *) __asm__("x2") = fn;
	register void *x3 __asm__("x3") = arg;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x3\n\t"
			 "blr x2\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
			 : "x30", "memory", "cc");
	return x0;
}

#else
#error "the keeper's child needs raw system calls for this machine: see rawsys.h"
#endif

#define RAW0(name)	       raw_call(SYS_##name, 0, 0, 0, 0, 0)
#define RAW1(name, a)	       raw_call(SYS_##name, (long)(a), 0, 0, 0, 0)
#define RAW2(name, a, b)       raw_call(SYS_##name, (long)(a), (long)(b), 0, 0, 0)
#define RAW3(name, a, b, c)    raw_call(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0)
#define RAW4(name, a, b, c, d) raw_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0)

#endif
