/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_PROBE_KIT_H
#define TESTS_UNIT_PROBE_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "supd/core/arp.h"
#include "supd/core/neigh.h"
#include "supd/engine/engine.h"

/*
 * probe.c, conflict.c and announce.c with a socket pair for each wire (ARP, ND): what is sent is
 * read at the other end, and what is written there is received.  Events are caught where the engine
 * would queue them.
 */

#define OWN     "10.9.0.1"
#define NODE_B  "10.9.0.2"
#define NODE_C  "10.9.0.3"
#define VIP     "10.9.0.100"
#define GATEWAY "10.9.0.254"
#define LISTED  "10.9.0.253"

#define VIP6     "2001:db8::100"
#define GATEWAY6 "fe80::fe"
#define LOCAL6   "fe80::1"

extern const uint8_t own_mac[6], b_mac[6], gateway_mac[6], stranger_mac[6];

struct world {
	struct engine e;
	struct engine_service svc;
	int wires[2]; /* ARP, ND */
	struct service_event caught[32];
	unsigned n_caught, hellos;
	bool has_target; /* of the newest SERVICE_EV_TARGETS */
};

extern struct world *w; /* of the test that runs */
extern struct model_service *kit_service;

/* Test setups: by what isolation_probe is; with an IPv6 address beside the other. */
int setup_auto(void **state);
int setup_list(void **state);
int setup_off(void **state);
int setup_six(void **state);
int teardown(void **state);

struct ip_addr ip(const char *text);

/* The next ARP frame that was sent; false: none. */
bool sent(struct arp_frame *ret);
unsigned count_sent(uint32_t tpa);
/* The next frame on a wire: its length, 0: none. */
size_t sent_on(unsigned wire, uint8_t *buf, size_t size);

void arrive(uint16_t op, const uint8_t sha[6], const char *spa, const uint8_t tha[6],
	    const char *tpa);
/* An answer to us. */
void answer(const uint8_t mac[6], const char *address);
void arrive_on(unsigned wire, const uint8_t *buf, size_t len);

/* As if the last round had been so long ago. */
void probe_again(mtime ago);
void set_gateway(const char *address);
/* A backup whose Active_Down has expired. */
void miss_adverts(void);
/* The engine's loop, for so long. */
void run_loop(double seconds);

#endif
