/* SPDX-License-Identifier: MIT */
#include "supd/core/arp.h"
#include "supd/core/vrrp_fsm.h"
#include "supd/core/vrrp_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the network can send us: any bytes, as a VRRP datagram and as an ARP frame.  Nothing may be
 * read beyond them, what is accepted must mean the same when built again, and no sequence of
 * adverts and times may break the machine's invariants.
 *
 * With libFuzzer (-fsanitize=fuzzer -DSUPD_LIBFUZZER) this is a target as usual.  Without it, main
 * replays the files given, and then a bounded number of mutations of known packets, from a fixed
 * seed: the same every time.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_rebuild(const struct vrrp_packet *p)
{
	uint8_t buf[20 + VRRP_PACKET_MAX] = {0x45, 0xc0};
	struct vrrp_packet back;

	for (int form = VRRP_CHECKSUM_PSEUDO; form <= VRRP_CHECKSUM_RFC9568; form++) {
		const size_t n =
			vrrp_packet_build(p, (enum vrrp_checksum)form, buf + 20, VRRP_PACKET_MAX);
		const size_t total = n + 20;

		REQUIRE(n == 8 + 4 * (size_t)p->count);
		buf[2] = (uint8_t)(total >> 8);
		buf[3] = (uint8_t)total;
		buf[8] = VRRP_TTL;
		buf[9] = VRRP_PROTOCOL;
		memcpy(buf + 12, &p->src, 4);
		memcpy(buf + 16, &p->dst, 4);
		REQUIRE(vrrp_packet_parse(buf, total, p->vrid, &p->src, 1, &back) ==
			VRRP_REJECT_NONE);
		REQUIRE(back.priority == p->priority && back.interval == p->interval &&
			back.count == p->count);
		REQUIRE(memcmp(back.addrs, p->addrs, 4 * (size_t)p->count) == 0);
	}
}

static void fuzz_packet(const uint8_t *data, size_t size)
{
	uint32_t src = 0;
	struct vrrp_packet p;

	/* Make the sender a peer and the VRID ours, so that the later checks are reached. */
	if (size >= 16)
		memcpy(&src, data + 12, 4);
	if (vrrp_packet_parse(data, size, size > 21 ? data[21] : 1, &src, 1, &p) ==
	    VRRP_REJECT_NONE)
		check_rebuild(&p);
}

static void fuzz_arp(const uint8_t *data, size_t size)
{
	uint8_t buf[ARP_FRAME_LEN];
	struct arp_frame f;

	if (arp_parse(data, size, &f) < 0)
		return;
	REQUIRE(arp_build(&f, buf, sizeof(buf)) == ARP_FRAME_LEN);
	REQUIRE(memcmp(buf, data, ARP_FRAME_LEN) == 0);
}

/* Four bytes an event: type, priority, interval, time that passes before it. */
static void fuzz_fsm(const uint8_t *data, size_t size)
{
	const struct vrrp_config config = {
		.priority = size > 0 && data[0] > 0 ? data[0] : 1,
		.interval = MTIME_MS(10) * (1 + (size > 1 ? data[1] : 0)),
		.interval_max = MTIME_SEC(10),
		.preempt = size > 2 && data[2] % 2 != 0,
		.policy = size > 2 && data[2] / 2 % 2 != 0,
	};
	mtime now = MTIME_SEC(1);
	struct vrrp_fsm v;

	vrrp_init(&v, &config);
	for (size_t i = 3; i + 3 < size; i += 4) {
		const struct vrrp_event ev = {
			.type = (enum vrrp_event_type)(data[i] % (VRRP_EV_ANNOUNCE + 1)),
			.priority = data[i + 1],
			.interval = MTIME_MS(10) * data[i + 2] * 16,
			.src_above_own = data[i] >> 7,
		};
		struct vrrp_actions out = {0};

		now += MTIME_MS(20) * data[i + 3];
		vrrp_step(&v, &ev, now, &out);
		REQUIRE(vrrp_check(&v));
		REQUIRE(out.n <= 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_packet(data, size);
	fuzz_arp(data, size);
	fuzz_fsm(data, size);
	return 0;
}

#ifndef SUPD_LIBFUZZER

#define MUTATIONS 200000
#define INPUT_MAX 2048

static const uint8_t seed_vrrp[] = {
	0x45, 0xc0, 0, 32, 0,    0,    0,    0,    255,  112,  0,    0,    10,   77,   0,    1,
	10,   77,   0, 3,  0x31, 0x33, 0x64, 0x01, 0x00, 0x64, 0x4a, 0x9c, 0x0a, 0x4d, 0x00, 0x64};
static const uint8_t seed_arp[ARP_FRAME_LEN] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1,
						8,   6,   0,   1,   8,   0,   6, 4, 0, 1, 2};

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* A heap copy of exactly this size, so that the sanitizer sees the first byte too many. */
static void run_exact(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	REQUIRE(copy != NULL);
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void mutate(uint32_t *random, uint8_t *buf, size_t *len)
{
	for (uint32_t n = next_random(random) % 4; n > 0; n--)
		buf[next_random(random) % *len] = (uint8_t)next_random(random);
	if (next_random(random) % 4 == 0)
		*len = next_random(random) % (*len + 1);
	else if (next_random(random) % 8 == 0)
		*len += next_random(random) % 64;
}

static void run_mutations(uint32_t seed, unsigned long count)
{
	uint32_t random = seed != 0 ? seed : 1;
	uint8_t buf[INPUT_MAX];

	for (unsigned long i = 0; i < count; i++) {
		const bool arp = next_random(&random) % 4 == 0;
		size_t len = arp ? sizeof(seed_arp) : sizeof(seed_vrrp);

		for (size_t k = 0; k < 256; k++)
			buf[k] = (uint8_t)next_random(&random);
		if (next_random(&random) % 8 != 0)
			memcpy(buf, arp ? seed_arp : seed_vrrp, len);
		mutate(&random, buf, &len);
		run_exact(buf, len);
	}
}

static int run_file(const char *path)
{
	uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	run_exact(buf, fread(buf, 1, sizeof(buf), f));
	fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	const char *seed = getenv("SUPD_FUZZ_SEED"), *count = getenv("SUPD_FUZZ_COUNT");
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	run_mutations(seed != NULL ? (uint32_t)strtoul(seed, NULL, 0) : 9568,
		      count != NULL ? strtoul(count, NULL, 0) : MUTATIONS);
	return failed;
}

#endif
