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

/* The sender is a peer and the VRID ours, so that the later checks are reached. */
static const struct vrrp_profile profiles[] = {
	{.version = 3, .family = AF_INET, .interval = MTIME_SEC(1)},
	{.version = 3, .family = AF_INET6, .interval = MTIME_SEC(1)},
	{.version = 2, .family = AF_INET, .interval = MTIME_SEC(1)},
	{.version = 2, .family = AF_INET, .interval = MTIME_SEC(1), .auth = VRRP_AUTH_PASS,
	 .password = "secret12"},
};

static void check_rebuild(const struct vrrp_profile *as, const struct vrrp_packet *p)
{
	struct vrrp_profile profile = *as;
	uint8_t buf[VRRP_PACKET_MAX];
	struct vrrp_datagram d = {.src = p->src, .dst = p->dst, .ttl = VRRP_TTL, .message = buf,
				  .verified = profile.family == AF_INET6};
	struct vrrp_packet back;

	profile.interval = p->interval;
	for (int form = VRRP_CHECKSUM_PSEUDO; form <= VRRP_CHECKSUM_RFC9568; form++) {
		profile.checksum = (enum vrrp_checksum)form;
		d.len = vrrp_packet_build(&profile, p, buf, sizeof(buf));
		REQUIRE(d.len == 8 + (size_t)p->count * ip_addr_len(profile.family) +
					 (profile.version == 2 ? VRRP_PASSWORD_LEN : 0));
		REQUIRE(vrrp_packet_parse(&d, &profile, &p->src, 1, &back) == VRRP_REJECT_NONE);
		REQUIRE(back.priority == p->priority && back.interval == p->interval);
		REQUIRE(vrrp_packet_same_addresses(p, &back, profile.family));
	}
}

static void try_profile(const struct vrrp_profile *as, const struct vrrp_datagram *d)
{
	struct vrrp_profile profile = *as;
	struct vrrp_packet p;

	if (d->len > 1)
		profile.vrid = d->message[1];
	if (vrrp_packet_parse(d, &profile, &d->src, 1, &p) == VRRP_REJECT_NONE)
		check_rebuild(&profile, &p);
}

/* As it comes from a raw socket of IPv4, and as a message that something else has unwrapped. */
static void fuzz_packet(const uint8_t *data, size_t size)
{
	struct vrrp_datagram d;
	const struct in6_addr six = {.s6_addr = {0xfe, 0x80, [15] = 1}};

	if (vrrp_packet_unwrap(data, size, &d) == VRRP_REJECT_NONE)
		for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
			try_profile(&profiles[i], &d);
	d = (struct vrrp_datagram){.src = ip_addr_v6(&six), .ttl = VRRP_TTL, .message = data,
				   .len = size, .verified = true};
	d.dst = vrrp_packet_group(AF_INET6);
	try_profile(&profiles[1], &d);
	d.src = d.dst = ip_addr_v4(htonl(INADDR_LOOPBACK));
	try_profile(&profiles[size % 2 == 0 ? 2 : 3], &d);
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
static const uint8_t seed_v2[] = {
	0x45, 0xc0, 0,    40,   0,    0,    0,    0,    255,  112,  0,    0,    10,   99,
	0,    1,    10,   99,   0,    2,    0x21, 0x33, 0x96, 0x01, 0x01, 0x01, 0xcf, 0x84,
	0x0a, 0x63, 0x00, 0x64, 0x73, 0x65, 0x63, 0x72, 0x65, 0x74, 0x31, 0x32};
static const uint8_t seed_v6[] = {
	0x31, 0x33, 0x64, 0x02, 0x00, 0x64, 0xaf, 0x10, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0,    0,    0,    0x51, 0xfd, 0x77, 0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
static const uint8_t seed_arp[ARP_FRAME_LEN] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1,
						8,   6,   0,   1,   8,   0,   6, 4, 0, 1, 2};

static const struct seed {
	const uint8_t *bytes;
	size_t len;
} seeds[] = {{seed_vrrp, sizeof(seed_vrrp)},
	     {seed_v2, sizeof(seed_v2)},
	     {seed_v6, sizeof(seed_v6)},
	     {seed_arp, sizeof(seed_arp)}};
#define N_SEEDS (sizeof(seeds) / sizeof(seeds[0]))

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
		const struct seed *from = &seeds[next_random(&random) % N_SEEDS];
		size_t len = from->len;

		for (size_t k = 0; k < 256; k++)
			buf[k] = (uint8_t)next_random(&random);
		if (next_random(&random) % 8 != 0)
			memcpy(buf, from->bytes, len);
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
