/* SPDX-License-Identifier: MIT */
#ifndef SUPD_KEEPER_NOTIFY_H
#define SUPD_KEEPER_NOTIFY_H

/* Tell systemd, where NOTIFY_SOCKET names it; never blocks, and does nothing elsewhere. */
void notify_systemd(const char *state);

#endif
