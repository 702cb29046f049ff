/* SPDX-License-Identifier: MIT */
#ifndef SUPD_CORE_PEER_MSG_H
#define SUPD_CORE_PEER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/core/service_fsm.h"

/*
 * The peer link on the wire: one UDP datagram, big-endian.
 *
 *   magic "SUPD" | version 1 | type | sender row | receiver row | session 8 | echo session 8 |
 *   seq 8 | echo seq 8 | body | HMAC-SHA-256 32
 *
 * session: random, drawn at each start of supd; echo: the receiver's, and the highest seq heard
 * from it.  The HMAC (the shell's) covers everything before it, preceded by cluster name and both
 * node names.  Page 0 of a HELLO holds at most 24 services; what does not fit follows on numbered
 * pages.
 */
#define PEER_MAGIC	   0x53555044u
#define PEER_VERSION	   1
#define PEER_HEADER_LEN	   40
#define PEER_HMAC_LEN	   32
#define PEER_DATAGRAM_MAX  1400
#define PEER_SERVICES_PAGE 24
#define PEER_TEXT_MAX	   1024

#define PEER_TYPES(X)                                                                              \
	X(HELLO, "hello") X(FENCE, "fence") X(FENCED, "fenced") X(RELEASE, "release")              \
	X(RELEASED, "released") X(COMMAND, "command") X(RESULT, "result") X(DETAILS, "details")     \
	X(ADVERT, "advert")

enum peer_type {
	PEER_TYPE_NONE,
#define X(name, text) PEER_TYPE_##name,
	PEER_TYPES(X)
#undef X
	PEER_TYPES_END
};

struct peer_header {
	enum peer_type type;
	uint8_t from, to; /* rows */
	uint64_t session, echo_session, seq, echo_seq;
};

struct peer_hello_record {
	uint64_t service; /* hash of the name */
	uint8_t mac[6];	  /* of the sender's interface of that service: judges conflict answers */
	struct service_report report;
};

struct peer_hello {
	bool answer;   /* asks for a HELLO at once */
	uint8_t page, pages;
	uint8_t n;
	uint64_t file; /* digest of the whole configuration; in each report, too */
	struct peer_hello_record records[PEER_SERVICES_PAGE];
};

/* FENCE, FENCED, RELEASE, RELEASED. */
struct peer_term {
	uint64_t service;
	uint64_t term;
	uint8_t successor; /* RELEASE: row; 0xff: nobody named */
	bool ending;	   /* RELEASE: the sender's supd ends */
};

/* ADVERT: that of VRRP, where transport = udp. */
struct peer_advert {
	uint64_t service;
	uint8_t priority; /* 0: released */
	uint32_t interval_ms;
};

/* COMMAND: a JSON request; RESULT: its JSON reply; id pairs them. */
struct peer_text {
	uint32_t id;
	uint16_t len; /* below PEER_TEXT_MAX; text[len] is NUL once decoded */
	char text[PEER_TEXT_MAX];
};

/* What a node tells about itself at most once a second, for status. */
struct peer_details {
	uint32_t load100[3]; /* load averages x 100 */
	uint8_t cpu_pct;
	uint64_t memory_available;
	uint64_t started_at; /* wall clock, seconds */
	uint64_t config_digest; /* of everything in the file */
};

struct peer_msg {
	struct peer_header h;
	union {
		struct peer_hello hello;
		struct peer_term term;
		struct peer_advert advert;
		struct peer_text text;
		struct peer_details details;
	};
};

const char *peer_type_name(enum peer_type t);

/* Encode without the HMAC: length, or 0 when it does not fit. */
size_t peer_msg_encode(const struct peer_msg *m, uint8_t *buf, size_t size);
/* Decode what peer_msg_encode() made (HMAC cut off): 0 or -EBADMSG; *ret untouched on failure. */
int peer_msg_decode(const uint8_t *buf, size_t len, struct peer_msg *ret);

#endif
