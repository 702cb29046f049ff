/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_paths.h"

#include <string.h>

/*
 * One message, several networks.
 *
 *      a  198.51.100.11 ------ path 1 ------ 198.51.100.12  b
 *         192.0.2.11    ------ path 0 ------ 192.0.2.12
 *
 * Every message goes out on every path, all copies with the same number.  The copy that comes first
 * is the message (peer_fsm); one that comes later says only that its path works.  Numbers grow on
 * each path, too, so a recorded datagram that is played back on the path that it was sent on
 * revives nothing.
 *
 *                  the others were heard Active_Down longer than it
 *       works  ----------------------------------------------------->  lost
 *              <-----------------------------------------------------
 *                         heard no longer ago than that
 *
 * A path is compared with its neighbours, not with the clock: when the peer is down, or we are
 * stopped, all fall silent together, and none of them is lost for that.  After such a silence the
 * first to come back does not accuse the others: they are given Active_Down from the beginning of
 * the contact (`since`).  A path that was lost before remains so until it is heard.
 *
 * Invariants (peer_paths_check): no path was heard after `heard`; `since` is not after `heard`; the
 * only path of a peer is never lost.
 */

void peer_paths_init(struct peer_paths *p, unsigned n)
{
	memset(p, 0, sizeof(*p));
	p->n = n;
}

bool peer_paths_hear(struct peer_paths *p, unsigned path, uint64_t session, uint64_t seq, mtime now,
		     mtime patience)
{
	struct peer_path *w = &p->path[path];

	if (w->session == session && seq <= w->seq)
		return false;
	if (p->heard == 0 || now - p->heard >= patience)
		p->since = now;
	w->session = session;
	w->seq = seq;
	w->heard = p->heard = now;
	return true;
}

static bool is_lost(const struct peer_paths *p, const struct peer_path *w, mtime patience)
{
	if (p->heard - w->heard < patience)
		return false;
	return w->lost || p->heard - mtime_max(w->heard, p->since) >= patience;
}

unsigned peer_paths_judge(struct peer_paths *p, mtime patience)
{
	unsigned changed = 0;

	for (unsigned i = 0; i < p->n && p->heard != 0; i++) {
		bool lost = is_lost(p, &p->path[i], patience);

		changed |= (unsigned)(lost != p->path[i].lost) << i;
		p->path[i].lost = lost;
	}
	return changed;
}

bool peer_paths_check(const struct peer_paths *p)
{
	if (p->n > MODEL_PATHS_MAX || p->since > p->heard)
		return false;
	for (unsigned i = 0; i < MODEL_PATHS_MAX; i++)
		if (p->path[i].heard > p->heard || (p->path[i].lost && (p->n < 2 || i >= p->n)))
			return false;
	return true;
}
