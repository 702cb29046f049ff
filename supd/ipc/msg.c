/* SPDX-License-Identifier: MIT */
#include "supd/ipc/msg_hook.h"

const char *ipc_stage_name(enum ipc_stage s)
{
	switch (s) {
#define X(name, text)                                                                              \
	case IPC_STAGE_##name:                                                                     \
		return text;
		IPC_STAGES(X)
#undef X
	case IPC_STAGES_END:
		break;
	}
	return "unknown";
}

const char *ipc_vip_verb_name(enum ipc_vip_verb v)
{
	static const char *const names[] = {
#define X(name, text) [IPC_VIP_##name] = text,
		IPC_VIP_VERBS(X)
#undef X
	};

	return names[v];
}

const char *ipc_hook_name(enum ipc_hook_kind k)
{
	static const char *const names[] = {
#define X(name, text) [IPC_HOOK_##name] = text,
		IPC_HOOKS(X)
#undef X
	};

	return names[k];
}
