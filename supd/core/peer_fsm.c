/* SPDX-License-Identifier: MIT */
#include "supd/core/peer_fsm.h"

#include <string.h>

/*
 * Is this message fresh?  Sessions and sequence numbers instead of clocks.
 *
 *        A (session a)                                B (session b, just started)
 *          | <------- HELLO  b, echo 0 ----------------- |   echo of A's session is wrong:
 *   CHALLENGE: answer and echo b, believe nothing         |
 *          | -------- HELLO  a, echo b, seq 8, echo 1 --> |   echoes b, seq 1: ACCEPT, a is known
 *          | <------- HELLO  b, echo a, seq 2, echo 8 --- |
 *   ACCEPT: echo 8 is above every echo of B's old session, so B has read what A sent just now
 *
 * Every message carries both sessions, its own sequence number and the highest one heard from the
 * receiver.  It is accepted only when
 *   1. it comes from this peer and is meant for us;
 *   2. its session is not one that this peer left before (the last four are remembered);
 *   3. it echoes our session;
 *   4. in the known session: its sequence number is above all accepted ones;
 *      in a new one: it echoes a number of ours above every one echoed before, which nobody can
 *      have recorded before we sent it;
 *   5. it echoes a number above `echo_floor`.  A new engine goes on with the session of the old
 *      one but knows only an older state of it (the baton): what the old engine has accepted since
 *      could be played back to it.  So it believes only what echoes its own messages.
 * Whatever fails 3, 4b or 5 may be an honest peer that does not know better: CHALLENGE.  The
 * answer echoes the challenged session (once); all other messages go on echoing the accepted one,
 * so a recorded message costs one datagram and disturbs nobody.
 *
 * `echoed` is the send time of our newest message that the peer has seen: proof of two-way contact
 * dated by our own clock, never later than the truth (taken before the send).
 *
 * Our own numbers never repeat within a session: the keeper holds a ceiling; a new engine starts
 * above it.  The ceiling is raised while half of its room is left, so that a baton that was lost
 * with its engine costs nothing; should all be lost, an accepted echo above our own number pulls it
 * up.
 *
 * Invariants (peer_check): seq <= ceiling; his_echo <= seq; the current session is not retired;
 * contact times never lie about a peer without a session.
 */

#define CHALLENGE_INTERVAL MTIME_MS(20)
#define SEQ_LIMIT	   (UINT64_MAX / 2) /* nobody gets there; what claims to is nonsense */
#define N_RETIRED	   (sizeof(((struct peer_fsm *)0)->retired) / sizeof(uint64_t))

const char *peer_verdict_name(enum peer_verdict v)
{
	switch (v) {
#define X(name, text)                                                                              \
	case PEER_VERDICT_##name:                                                                  \
		return text;
		PEER_VERDICTS(X)
#undef X
	case PEER_VERDICTS_END:
		break;
	}
	return "unknown";
}

void peer_init(struct peer_fsm *p, uint8_t self, uint8_t peer, uint64_t session)
{
	memset(p, 0, sizeof(*p));
	p->self = self;
	p->peer = peer;
	p->session = session;
}

void peer_stamp(struct peer_fsm *p, mtime now, struct peer_header *h, bool *ret_new_ceiling)
{
	bool answering = p->answer_session != 0;

	p->seq++;
	*ret_new_ceiling = p->seq + PEER_SEQ_STEP / 2 > p->seq_ceiling;
	if (*ret_new_ceiling)
		p->seq_ceiling = p->seq + PEER_SEQ_STEP;
	p->sent[p->seq % PEER_SENT_RING].seq = p->seq;
	p->sent[p->seq % PEER_SENT_RING].at = now;

	h->from = p->self;
	h->to = p->peer;
	h->session = p->session;
	h->seq = p->seq;
	h->echo_session = answering ? p->answer_session : p->his_session;
	h->echo_seq = answering ? p->answer_seq : p->his_seq;
	p->answer_session = 0;
}

static bool is_retired(const struct peer_fsm *p, uint64_t session)
{
	for (unsigned i = 0; i < N_RETIRED; i++)
		if (p->retired[i] == session)
			return true;
	return false;
}

/* Newest first; the oldest falls off. */
static void retire(struct peer_fsm *p, uint64_t session)
{
	if (session == 0)
		return;
	memmove(&p->retired[1], &p->retired[0], (N_RETIRED - 1) * sizeof(p->retired[0]));
	p->retired[0] = session;
}

/* Changes nothing: the rules of the essay, in their order. */
static enum peer_verdict judge(const struct peer_fsm *p, const struct peer_header *h)
{
	bool known = h->session == p->his_session;

	if (h->from != p->peer || h->to != p->self)
		return PEER_VERDICT_NOT_FOR_US;
	if (h->session == 0 || h->seq == 0 || h->seq > SEQ_LIMIT || h->echo_seq > SEQ_LIMIT)
		return PEER_VERDICT_REPLAY;
	if (is_retired(p, h->session))
		return PEER_VERDICT_RETIRED;
	if (known && h->seq <= p->his_seq)
		return PEER_VERDICT_REPLAY;
	if (h->echo_session != p->session)
		return PEER_VERDICT_CHALLENGE;
	if (h->echo_seq <= p->echo_floor)
		return PEER_VERDICT_CHALLENGE;
	if (!known && h->echo_seq <= p->his_echo)
		return PEER_VERDICT_CHALLENGE;
	return PEER_VERDICT_ACCEPT;
}

static void note_echo(struct peer_fsm *p, uint64_t echo_seq)
{
	unsigned slot = echo_seq % PEER_SENT_RING;

	if (echo_seq > p->seq)
		p->seq = echo_seq;
	if (p->seq > p->seq_ceiling)
		p->seq_ceiling = p->seq; /* the next stamp asks for a new baton */
	if (echo_seq > p->his_echo)
		p->his_echo = echo_seq;
	if (p->sent[slot].seq == echo_seq)
		p->echoed = mtime_max(p->echoed, p->sent[slot].at);
}

static void accept_message(struct peer_fsm *p, const struct peer_header *h, mtime now)
{
	if (h->session != p->his_session) {
		retire(p, p->his_session);
		p->his_session = h->session;
	}
	p->his_seq = h->seq;
	p->heard = now;
	note_echo(p, h->echo_seq);
}

enum peer_verdict peer_receive(struct peer_fsm *p, const struct peer_header *h, mtime now)
{
	enum peer_verdict v = judge(p, h);

	p->challenger_session = 0;
	if (v == PEER_VERDICT_ACCEPT) {
		accept_message(p, h, now);
	} else if (v == PEER_VERDICT_CHALLENGE) {
		p->challenger_session = h->session;
		p->challenger_seq = h->seq;
	}
	return v;
}

bool peer_is_copy(const struct peer_fsm *p, const struct peer_header *h)
{
	return h->from == p->peer && h->to == p->self && p->his_session != 0 &&
	       h->session == p->his_session && h->seq != 0 && h->seq <= p->his_seq &&
	       h->echo_session == p->session && h->echo_seq > p->echo_floor &&
	       h->echo_seq <= SEQ_LIMIT;
}

bool peer_may_challenge(struct peer_fsm *p, mtime now)
{
	if (p->challenger_session == 0)
		return false;
	if (p->challenged != 0 && now - p->challenged < CHALLENGE_INTERVAL)
		return false;
	p->challenged = now;
	p->answer_session = p->challenger_session;
	p->answer_seq = p->challenger_seq;
	p->challenger_session = 0;
	return true;
}

bool peer_is_news(struct peer_fsm *p, const struct peer_header *h)
{
	const unsigned n = sizeof(p->claims_past) / sizeof(p->claims_past[0]);

	for (unsigned i = 0; i < n; i++)
		if (p->claims_past[i] == h->session)
			return false;
	if (h->session == p->claim_session && h->seq <= p->claim_seq)
		return false;
	if (h->session != p->claim_session) {
		memmove(&p->claims_past[1], &p->claims_past[0], (n - 1) * sizeof(uint64_t));
		p->claims_past[0] = p->claim_session;
	}
	p->claim_session = h->session;
	p->claim_seq = h->seq;
	return true;
}

void peer_to_baton(const struct peer_fsm *p, struct peer_baton *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->session = p->session;
	ret->seq_ceiling = p->seq_ceiling;
	ret->his_session = p->his_session;
	ret->his_seq = p->his_seq;
	ret->his_echo = p->his_echo;
	memcpy(ret->retired, p->retired, sizeof(ret->retired));
}

void peer_from_baton(struct peer_fsm *p, const struct peer_baton *b)
{
	peer_init(p, p->self, p->peer, b->session);
	p->seq = b->seq_ceiling;
	p->seq_ceiling = b->seq_ceiling;
	p->echo_floor = b->seq_ceiling;
	p->his_session = b->his_session;
	p->his_seq = b->his_seq;
	p->his_echo = b->his_echo;
	memcpy(p->retired, b->retired, sizeof(p->retired));
}

bool peer_check(const struct peer_fsm *p)
{
	if (p->seq > p->seq_ceiling || p->his_echo > p->seq || p->echo_floor > p->seq)
		return false;
	if (p->his_session != 0 && is_retired(p, p->his_session))
		return false;
	if (p->his_session == 0 && (p->heard != 0 || p->echoed != 0 || p->his_seq != 0))
		return false;
	return p->heard != 0 || p->echoed == 0;
}
