/* SPDX-License-Identifier: MIT */
#include "supd/core/vrrp_fsm.h"

#include <stddef.h>

/*
 * The virtual router of RFC 9568 section 6.4 (timers: section 6.1).
 *
 *                        +------------+
 *        STARTUP, 255    | initialize |    STARTUP
 *       +----------------|            |-----------------+
 *       |    SHUTDOWN    +------------+    SHUTDOWN     |
 *       |  (advert of 0)  ^          ^                  |
 *       v                 |          |                  v
 *   +--------+            |          |            +--------+
 *   | active |------------+          +------------| backup |
 *   |        |                                    |        |
 *   |        |------- advert that wins ---------->|        |
 *   |        |<------ Active_Down expires --------|        |
 *   +--------+                                    +--------+
 *
 * Wins: a higher priority, or the same and a greater address.  An advert that loses is answered
 * by one of ours at once (new in RFC 9568).  A Backup learns the interval of whom it hears, so that
 * Skew_Time and Active_Down_Interval follow the Active's clock:
 *
 *   Skew_Time            = (256 - priority) x Active_Adver_Interval / 256
 *   Active_Down_Interval = 3 x Active_Adver_Interval + Skew_Time
 *
 * The learned interval is capped: one advert that says 40.95 s would silence a Backup for minutes.
 *
 * policy = true is what runs between peer-linked nodes.  Both changes between Backup and Active
 * become requests to service_fsm, which weighs more evidence than adverts and grants or does not.
 * Adverts are then only signs of life, so each one restarts Active_Down: a lower priority is not
 * discarded, priority 0 does not shorten the wait (RELEASE on the peer link says that better, and
 * cannot be forged), and no advert makes the interval shorter than our own: the budget of "never
 * two" is counted in our interval, and adverts are not authenticated.
 *
 * A plain router among the nodes says all that it has to say by its adverts: Backup follows them as
 * the RFC has it, but waits at least `grace` after a priority 0.
 *
 * Invariants (vrrp_check): exactly one timer runs, down in Backup, advert in Active; in Backup it
 * may rest while there is no contact (SUSPEND) or after it has expired and was reported.
 */

const char *vrrp_state_name(enum vrrp_state s)
{
	static const char *const names[] = {
#define X(name, text) [VRRP_STATE_##name] = text,
		VRRP_STATES(X)
#undef X
	};

	return (size_t)s < sizeof(names) / sizeof(names[0]) ? names[s] : "?";
}

mtime vrrp_skew(const struct vrrp_fsm *v)
{
	return (256 - (mtime)v->config.priority) * v->active_interval / 256;
}

mtime vrrp_active_down(const struct vrrp_fsm *v)
{
	return 3 * v->active_interval + vrrp_skew(v);
}

mtime vrrp_deadline(const struct vrrp_fsm *v)
{
	return mtime_min(v->down_at, v->advert_at);
}

static void act(struct vrrp_actions *out, enum vrrp_action_type type)
{
	if (out->n < sizeof(out->a) / sizeof(out->a[0]))
		out->a[out->n++] = type;
}

/* The one place where the state changes: every timer that is not the new state's ends here. */
static void set_state(struct vrrp_fsm *v, enum vrrp_state state, mtime now)
{
	v->state = state;
	v->expired = false;
	v->down_at = MTIME_NEVER;
	v->advert_at = MTIME_NEVER;
	switch (state) {
	case VRRP_STATE_INITIALIZE:
		break;
	case VRRP_STATE_BACKUP:
		v->down_at = mtime_add(now, vrrp_active_down(v));
		break;
	case VRRP_STATE_ACTIVE:
		v->advert_at = mtime_add(now, v->config.interval);
		break;
	}
}

/* The advert goes first: an old Active drops the address before ours is announced. */
static void become_active(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	set_state(v, VRRP_STATE_ACTIVE, now);
	act(out, VRRP_ACT_SEND_ADVERT);
	act(out, VRRP_ACT_BECAME_ACTIVE);
}

static void become_backup(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	set_state(v, VRRP_STATE_BACKUP, now);
	act(out, VRRP_ACT_BECAME_BACKUP);
}

static void send_advert(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	v->advert_at = mtime_add(now, v->config.interval);
	act(out, VRRP_ACT_SEND_ADVERT);
}

static void restart_down(struct vrrp_fsm *v, mtime now)
{
	v->expired = false;
	v->down_at = mtime_add(now, vrrp_active_down(v));
}

static void learn(struct vrrp_fsm *v, const struct vrrp_event *ev)
{
	mtime interval = ev->interval;

	if (interval <= 0)
		return;
	interval = mtime_min(interval, ev->plain ? v->config.plain_interval_max
						 : v->config.interval_max);
	if (v->config.policy)
		interval = mtime_max(interval, v->config.interval);
	v->active_interval = interval;
}

static bool wins(const struct vrrp_fsm *v, const struct vrrp_event *ev)
{
	return ev->priority > v->config.priority ||
	       (ev->priority == v->config.priority && ev->src_above_own);
}

/* Section 6.4.2, (420) to (460). */
static void backup_advert(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now)
{
	const bool believed = !v->config.policy || ev->plain;

	if (ev->priority == 0 && believed) {
		v->last_advert = now;
		v->expired = false;
		v->down_at = mtime_add(now, mtime_max(vrrp_skew(v), ev->grace));
		return;
	}
	if (believed && v->config.preempt && ev->priority < v->config.priority) {
		if (ev->plain) /* it lives, all the same */
			v->last_advert = now;
		return;
	}
	v->last_advert = now;
	if (ev->priority != 0)
		learn(v, ev);
	restart_down(v, now);
}

/* Section 6.4.3. */
static void active_advert(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now,
			  struct vrrp_actions *out)
{
	if (ev->priority == 0 || !wins(v, ev)) {
		if (v->config.policy)
			v->last_advert = now;
		send_advert(v, now, out);
		return;
	}
	v->last_advert = now;
	learn(v, ev);
	if (v->config.policy)
		act(out, VRRP_ACT_WANT_BACKUP);
	else
		become_backup(v, now, out);
}

static void startup(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	v->active_interval = v->config.interval;
	/* The owner does not wait to be asked, unless somebody else decides. */
	if (v->config.priority == 255 && !v->config.policy)
		become_active(v, now, out);
	else
		become_backup(v, now, out);
}

static void backup_tick(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	if (now < v->down_at)
		return;
	if (!v->config.policy) {
		become_active(v, now, out);
		return;
	}
	v->down_at = MTIME_NEVER;
	v->expired = true;
	act(out, VRRP_ACT_WANT_ACTIVE);
}

static void active_tick(struct vrrp_fsm *v, mtime now, struct vrrp_actions *out)
{
	if (now < v->advert_at)
		return;

	/* Keep the beat, but do not catch up on beats that were slept through. */
	const mtime next = mtime_add(v->advert_at, v->config.interval);

	send_advert(v, now, out);
	if (next > now)
		v->advert_at = next;
}

static void initialize_step(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now,
			    struct vrrp_actions *out)
{
	if (ev->type == VRRP_EV_STARTUP)
		startup(v, now, out);
}

static void backup_step(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now,
			struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_SHUTDOWN:
		set_state(v, VRRP_STATE_INITIALIZE, now);
		break;
	case VRRP_EV_TICK:
		backup_tick(v, now, out);
		break;
	case VRRP_EV_ADVERT:
		backup_advert(v, ev, now);
		break;
	case VRRP_EV_HOLD:
		restart_down(v, now);
		break;
	case VRRP_EV_SUSPEND:
		v->expired = false;
		v->down_at = MTIME_NEVER;
		break;
	case VRRP_EV_GRANT_ACTIVE:
		if (v->config.policy)
			become_active(v, now, out);
		break;
	case VRRP_EV_STARTUP:
	case VRRP_EV_GRANT_BACKUP:
	case VRRP_EV_ANNOUNCE:
		break;
	}
}

static void active_step(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now,
			struct vrrp_actions *out)
{
	switch (ev->type) {
	case VRRP_EV_SHUTDOWN:
		set_state(v, VRRP_STATE_INITIALIZE, now);
		act(out, VRRP_ACT_SEND_RELEASE);
		break;
	case VRRP_EV_TICK:
		active_tick(v, now, out);
		break;
	case VRRP_EV_ADVERT:
		active_advert(v, ev, now, out);
		break;
	case VRRP_EV_GRANT_BACKUP:
		if (v->config.policy)
			become_backup(v, now, out);
		break;
	case VRRP_EV_ANNOUNCE:
		send_advert(v, now, out);
		break;
	case VRRP_EV_STARTUP:
	case VRRP_EV_HOLD:
	case VRRP_EV_SUSPEND:
	case VRRP_EV_GRANT_ACTIVE:
		break;
	}
}

void vrrp_init(struct vrrp_fsm *v, const struct vrrp_config *config)
{
	*v = (struct vrrp_fsm){
		.config = *config,
		.state = VRRP_STATE_INITIALIZE,
		.active_interval = config->interval,
		.down_at = MTIME_NEVER,
		.advert_at = MTIME_NEVER,
	};
}

void vrrp_step(struct vrrp_fsm *v, const struct vrrp_event *ev, mtime now, struct vrrp_actions *out)
{
	switch (v->state) {
	case VRRP_STATE_INITIALIZE:
		initialize_step(v, ev, now, out);
		break;
	case VRRP_STATE_BACKUP:
		backup_step(v, ev, now, out);
		break;
	case VRRP_STATE_ACTIVE:
		active_step(v, ev, now, out);
		break;
	}
}

bool vrrp_check(const struct vrrp_fsm *v)
{
	const mtime longest =
		mtime_max(mtime_max(v->config.interval_max, v->config.plain_interval_max),
			  v->config.interval);

	if (v->active_interval <= 0 || v->active_interval > longest)
		return false;
	if (v->expired && (!v->config.policy || v->down_at != MTIME_NEVER))
		return false;
	switch (v->state) {
	case VRRP_STATE_INITIALIZE:
		return v->down_at == MTIME_NEVER && v->advert_at == MTIME_NEVER && !v->expired;
	case VRRP_STATE_BACKUP:
		return v->advert_at == MTIME_NEVER;
	case VRRP_STATE_ACTIVE:
		return v->down_at == MTIME_NEVER && v->advert_at != MTIME_NEVER && !v->expired;
	}
	return false;
}
