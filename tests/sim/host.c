/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <string.h>

/*
 * A host around its keeper and engine: power, kernel (the virtual address and its lease), net,
 * scribe and disk.  Only the disk outlives a power cut; the address outlives all of supd until its
 * lease ends.
 */

/* FACTS.md B: the kernel takes an address off up to 1.25 s after its lease has ended. */
#define LEASE_SLACK MTIME_MS(1250)

/* ---- power ----------------------------------------------------------------------------------------- */

void host_boot(struct world *w, struct host *h)
{
	if (h->up)
		return;
	h->up = true;
	h->offset = 0;
	h->offset = world_noise(w, MTIME_SEC(5), MTIME_SEC(20)) - host_local(h, w->now);
	h->vip_until = 0;
	h->well_since = w->now;
	STORY(w, h, "host boots");
	world_post(w, world_noise(w, MTIME_MS(100), MTIME_SEC(3)), EVENT_SUPD_START, h->row);
}

void host_crash(struct world *w, struct host *h)
{
	if (!h->up)
		return;
	STORY(w, h, "host dies");
	h->up = false;
	h->vip_until = 0;
	h->net_alive = h->scribe_alive = false;
	h->net_life++;
	h->scribe_life++;
	h->keeper.alive = h->keeper.stalled = false;
	h->keeper.life++;
	h->keeper.backlog.n = 0;
	h->engine.alive = h->engine.stalled = false;
	h->engine.life++;
	h->engine.backlog.n = 0;
	for (unsigned i = 0; i < WORLD_PROGRAMS_MAX; i++)
		h->runs[i] = (struct run){ .state = RUN_NONE };
	oracle_dead(w, h);
}

static void supd_start_later(struct world *w, struct host *h, mtime in)
{
	world_post(w, in, EVENT_SUPD_START, h->row);
}

void host_supd_start(struct world *w, struct host *h)
{
	if (!h->up || h->keeper.alive || h->engine.alive || h->stay_down)
		return;
	if (w->scenario.tooth == TOOTH_GUARD)
		keeper_kill_all(w, h, false);
	if (keeper_populated(h)) { /* kills every tree there, and sees it gone first */
		supd_start_later(w, h, MTIME_MS(50));
		return;
	}
	h->vip_until = 0; /* left-overs */
	h->net_alive = h->scribe_alive = true;
	h->net_life++;
	h->scribe_life++;
	h->told_term = 0;
	h->well_since = w->now;
	keeper_start(w, h);
}

/* The last process has ended; init or a person starts supd again after a while. */
void host_supd_gone(struct world *w, struct host *h)
{
	if (h->keeper.alive || h->engine.alive)
		return;
	h->net_alive = h->scribe_alive = false;
	h->net_life++;
	h->scribe_life++;
	supd_start_later(w, h, world_noise(w, MTIME_SEC(1), MTIME_SEC(20)));
}

/* ---- the virtual address and net ---------------------------------------------------------------------- */

bool host_has_vip(const struct world *w, const struct host *h)
{
	return h->up && h->vip_until > w->now;
}

static void watch_vip(struct world *w, struct host *h)
{
	if (h->vip_watched || h->vip_until == 0 || h->vip_until == MTIME_NEVER)
		return;
	h->vip_watched = true;
	world_post(w, h->vip_until - w->now, EVENT_VIP_CHECK, h->row);
}

static void vip_check(struct world *w, struct host *h)
{
	h->vip_watched = false;
	if (h->vip_until > w->now) {
		watch_vip(w, h);
		return;
	}
	if (h->vip_until == 0)
		return;
	STORY(w, h, "kernel: the address's lease has ended");
	host_vip_remove(w, h, true);
}

void host_vip_remove(struct world *w, struct host *h, bool tell)
{
	if (!host_has_vip(w, h) && h->vip_until == 0)
		return;
	h->vip_until = 0;
	if (tell && h->net_alive && h->engine.alive)
		engine_post(w, h, world_noise(w, MTIME_US(50), MTIME_MS(2)), INPUT_ADDRESS_LOST);
}

void host_net_order(struct world *w, struct host *h, bool adding, bool refresh, uint64_t order,
		    mtime valid_until)
{
	mtime in = world_noise(w, MTIME_US(50), MTIME_MS(2));
	struct event *e;

	if (!h->net_alive)
		return;
	e = world_post(w, mtime_max(in, h->net_free_at - w->now), EVENT_NET_ORDER, h->row);
	e->life = h->net_life;
	e->net.adding = adding;
	e->net.refresh = refresh;
	e->net.order = order;
	e->net.valid_until = valid_until;
}

static void net_order(struct world *w, struct host *h, const struct event *e)
{
	bool late = host_now(w, h) >= e->net.valid_until;
	struct input *in;

	if (w->now < h->net_free_at) { /* it hangs since */
		world_repost(w, h->net_free_at - w->now, e);
		return;
	}
	if (e->net.adding && !late) {
		mtime lease = w->scenario.vip_lease;

		h->vip_until = w->now + lease + world_noise(w, 0, LEASE_SLACK);
		watch_vip(w, h);
	} else {
		h->vip_until = 0;
	}
	if (!h->engine.alive)
		return;
	if (e->net.refresh) {
		if (late)
			engine_post(w, h, world_noise(w, MTIME_US(30), MTIME_MS(1)),
				    INPUT_ADDRESS_LOST);
		return;
	}
	in = engine_post(w, h, world_noise(w, MTIME_US(30), MTIME_MS(1)), INPUT_ADDRESSES);
	in->net.adding = e->net.adding;
	in->net.ok = !e->net.adding || !late;
	in->net.order = e->net.order;
}

void host_net_kill(struct world *w, struct host *h)
{
	if (!h->net_alive)
		return;
	h->net_alive = false;
	h->net_life++;
	h->net_free_at = 0;
	if (h->keeper.alive)
		world_post(w, world_noise(w, MTIME_MS(3), MTIME_MS(20)), EVENT_NET_BORN, h->row)->life =
			h->keeper.life;
}

static void net_born(struct world *w, struct host *h)
{
	if (h->net_alive)
		return;
	h->net_alive = true;
	if (h->engine.alive)
		engine_post(w, h, MTIME_MS(1), INPUT_NET_NEW);
}

/* ---- scribe and disk ------------------------------------------------------------------------------------- */

/* When a request of now is done: one after the other, and not while the disk hangs. */
static mtime disk_done(struct world *w, struct host *h)
{
	mtime at = w->now + world_noise(w, MTIME_MS(1), MTIME_MS(20));

	at = mtime_max(mtime_max(at, h->scribe_last + 1), h->disk_free_at);
	h->scribe_last = at;
	return at - w->now;
}

void host_save(struct world *w, struct host *h, uint64_t seq, const struct service_persist *p)
{
	struct event *e;

	if (!h->scribe_alive)
		return;
	e = world_post(w, disk_done(w, h), EVENT_SCRIBE_WRITTEN, h->row);
	e->life = h->scribe_life;
	e->scribe.seq = seq;
	e->scribe.persist = *p;
}

static void written(struct world *w, struct host *h, const struct event *e)
{
	bool ok = w->now >= h->disk_ok_at;
	struct input *in;

	if (w->now < h->disk_free_at) { /* it hangs since */
		h->scribe_last = mtime_max(h->scribe_last, h->disk_free_at);
		world_repost(w, h->disk_free_at - w->now, e);
		return;
	}
	if (ok)
		h->disk = e->scribe.persist;
	if (!h->engine.alive)
		return;
	in = engine_post(w, h, MTIME_US(50), INPUT_SAVED);
	in->scribe.seq = e->scribe.seq;
	in->scribe.ok = ok;
}

void host_load(struct world *w, struct host *h)
{
	struct input *in;

	if (!h->scribe_alive)
		return;
	in = engine_post(w, h, disk_done(w, h), INPUT_STATE);
	in->scribe.persist = h->disk;
}

void host_scribe_kill(struct world *w, struct host *h)
{
	if (!h->scribe_alive)
		return;
	h->scribe_alive = false;
	h->scribe_life++;
	if (h->keeper.alive)
		world_post(w, world_noise(w, MTIME_MS(3), MTIME_MS(20)), EVENT_SCRIBE_BORN, h->row)
			->life = h->keeper.life;
}

static void scribe_born(struct world *w, struct host *h)
{
	if (h->scribe_alive)
		return;
	h->scribe_alive = true;
	if (h->engine.alive)
		engine_post(w, h, MTIME_MS(1), INPUT_SCRIBE_NEW);
}

/* ---- events ------------------------------------------------------------------------------------------------ */

void host_event(struct world *w, const struct event *e)
{
	struct host *h = &w->hosts[e->host];

	if (e->type == EVENT_HOST_BOOT) {
		host_boot(w, h);
		return;
	}
	if (!h->up)
		return;
	if (e->type == EVENT_SUPD_START)
		host_supd_start(w, h);
	else if (e->type == EVENT_VIP_CHECK)
		vip_check(w, h);
	else if (e->type == EVENT_NET_ORDER && h->net_alive && e->life == h->net_life)
		net_order(w, h, e);
	else if (e->type == EVENT_NET_BORN && h->keeper.alive && e->life == h->keeper.life)
		net_born(w, h);
	else if (e->type == EVENT_SCRIBE_WRITTEN && h->scribe_alive && e->life == h->scribe_life)
		written(w, h, e);
	else if (e->type == EVENT_SCRIBE_BORN && h->keeper.alive && e->life == h->keeper.life)
		scribe_born(w, h);
}
