/* SPDX-License-Identifier: MIT */
#include "supd/ipc/msg.h"

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
