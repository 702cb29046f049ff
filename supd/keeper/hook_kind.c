/* SPDX-License-Identifier: MIT */
#include "supd/keeper/hook.h"

/* What the file says of each kind of hook. */

bool hook_is_of_service(enum ipc_hook_kind kind)
{
	return kind == IPC_HOOK_FENCE || kind == IPC_HOOK_VIP;
}

struct model_strv hook_argv(const struct model *m, enum ipc_hook_kind kind, uint32_t row)
{
	switch (kind) {
	case IPC_HOOK_FENCE:
		return model_service(m, row)->fence_argv;
	case IPC_HOOK_VIP:
		return model_service(m, row)->vip_argv;
	case IPC_HOOK_PRE_START:
		return model_program(m, row)->pre_start;
	case IPC_HOOK_POST_STOP:
		return model_program(m, row)->post_stop;
	case IPC_HOOK_READY:
		return model_program(m, row)->ready.argv;
	case IPC_HOOK_HEALTH:
		return model_program(m, row)->health.argv;
	case IPC_HOOKS_END:
		break;
	}
	return (struct model_strv){ 0 };
}

mtime hook_timeout(const struct model *m, enum ipc_hook_kind kind, uint32_t row)
{
	switch (kind) {
	case IPC_HOOK_FENCE:
		return model_service(m, row)->fence_command_timeout;
	case IPC_HOOK_VIP:
		return model_service(m, row)->vip_command_timeout;
	case IPC_HOOK_PRE_START:
	case IPC_HOOK_POST_STOP:
		return model_program(m, row)->hook_timeout;
	case IPC_HOOK_READY:
	case IPC_HOOK_HEALTH:
		return model_program(m, row)->health_timeout;
	case IPC_HOOKS_END:
		break;
	}
	return 0;
}

bool hook_is_probe(enum ipc_hook_kind kind)
{
	return kind == IPC_HOOK_READY || kind == IPC_HOOK_HEALTH;
}
