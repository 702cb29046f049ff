/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PEER_FSM_H
#define SUPD_CORE_PEER_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mtime.h"
#include "supd/core/peer_msg.h"

/*
 * Sessions and replay protection with one peer.
 *
 * A message counts only if it echoes our session and its sequence number grows (one exception: a
 * FENCE above every term seen, svc_on_unproven()).  A new session of
 * the peer counts only if the message echoes a sequence number of ours above every one echoed in
 * the session before, and the session is not one of the last four retired ones: a recorded message
 * proves nothing.  A message that is authentic and echoes a wrong session of ours is answered with
 * a HELLO (CHALLENGE, at most one per 20 ms), so that the peer learns our session.  After an engine
 * was replaced the new one believes only what echoes one of its own messages (echo_floor).
 */
#define PEER_SENT_RING 64
#define PEER_SEQ_STEP  1024 /* how far ahead the ceiling in the baton is */

#define PEER_VERDICTS(X)                                                                           \
	X(ACCEPT, "accepted") X(CHALLENGE, "wrong session") X(REPLAY, "replay")                    \
	X(RETIRED, "retired session") X(NOT_FOR_US, "not for us")

enum peer_verdict {
#define X(name, text) PEER_VERDICT_##name,
	PEER_VERDICTS(X)
#undef X
	PEER_VERDICTS_END
};
const char *peer_verdict_name(enum peer_verdict v);

struct peer_fsm {
	uint8_t self, peer; /* rows */
	uint64_t session;   /* ours */
	uint64_t seq;	    /* last one used */
	uint64_t seq_ceiling; /* in the baton: a new engine goes on above it */
	uint64_t his_session; /* 0: not known */
	uint64_t his_seq;   /* highest accepted */
	uint64_t his_echo;  /* highest of our seqs it echoed */
	uint64_t retired[4];
	mtime heard;	    /* newest accepted message; 0: never */
	mtime echoed;	    /* send time of our newest message that it echoed; 0: never */
	mtime challenged;   /* last CHALLENGE */
	uint64_t echo_floor; /* what echoes no seq above it is not believed */
	uint64_t challenger_session, challenger_seq; /* of the last CHALLENGE; 0: none */
	uint64_t claim_session, claim_seq; /* newest that came of a session which is not proven */
	uint64_t claims_past[4];	   /* such sessions before that one */
	uint64_t answer_session, answer_seq; /* echoed by the next stamp only; 0: none */
	struct {
		uint64_t seq;
		mtime at;
	} sent[PEER_SENT_RING];
};

void peer_init(struct peer_fsm *p, uint8_t self, uint8_t peer, uint64_t session);
/* Fill header fields for the next message to this peer, sent at `now`. *ret_new_ceiling: keep the baton first. */
void peer_stamp(struct peer_fsm *p, mtime now, struct peer_header *h, bool *ret_new_ceiling);
/* Judge the header of an authentic message; ACCEPT updates heard, echoed and sequences. */
enum peer_verdict peer_receive(struct peer_fsm *p, const struct peer_header *h, mtime now);
/*
 * Whether what peer_receive() has just called a replay may be another copy of a message that came
 * by another path: of the session in force, and too old by its number alone.
 */
bool peer_is_copy(const struct peer_fsm *p, const struct peer_header *h);
/*
 * Whether the CHALLENGE just returned may be answered with a HELLO now (rate limit; notes the
 * time).  True: the next peer_stamp(), and only that, echoes the challenged session.
 */
bool peer_may_challenge(struct peer_fsm *p, mtime now);

/*
 * Whether what was just called a CHALLENGE says something new: its number is above every one that
 * came of that session, and its sender has not gone over to another session since.  A recording is
 * news once, and a node that does not hear us (one direction is dead) with each message.
 */
bool peer_is_news(struct peer_fsm *p, const struct peer_header *h);

struct peer_baton {
	uint64_t session, seq_ceiling, his_session, his_seq, his_echo, retired[4];
};
void peer_to_baton(const struct peer_fsm *p, struct peer_baton *ret);
/* Go on with the session; p has been through peer_init() for its rows. */
void peer_from_baton(struct peer_fsm *p, const struct peer_baton *b);

/* Whether the invariants hold (tests, fuzzing). */
bool peer_check(const struct peer_fsm *p);

#endif
