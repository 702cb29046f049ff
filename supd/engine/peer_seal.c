/* SPDX-License-Identifier: MIT */
#include "supd/engine/peer_seal.h"

#include <sodium.h>
#include <string.h>

_Static_assert(PEER_HMAC_LEN == crypto_auth_hmacsha256_BYTES, "one size");
_Static_assert(sizeof(((struct model_supd *)0)->key) == crypto_auth_hmacsha256_KEYBYTES, "one key");

static void add_name(crypto_auth_hmacsha256_state *st, const char *name)
{
	crypto_auth_hmacsha256_update(st, (const unsigned char *)name, strlen(name) + 1);
}

void peer_seal(const struct model *m, uint32_t from, uint32_t to, const uint8_t *buf, size_t len,
	       uint8_t ret_mac[PEER_HMAC_LEN])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, m->supd.key, sizeof(m->supd.key));
	add_name(&st, model_str(m, m->supd.cluster));
	add_name(&st, model_node_name(m, from));
	add_name(&st, model_node_name(m, to));
	crypto_auth_hmacsha256_update(&st, buf, len);
	crypto_auth_hmacsha256_final(&st, ret_mac);
	sodium_memzero(&st, sizeof(st));
}

bool peer_seal_verify(const struct model *m, uint32_t from, uint32_t to, const uint8_t *datagram,
		      size_t len)
{
	uint8_t mac[PEER_HMAC_LEN];

	if (len < PEER_HMAC_LEN)
		return false;
	peer_seal(m, from, to, datagram, len - PEER_HMAC_LEN, mac);
	return sodium_memcmp(mac, datagram + len - PEER_HMAC_LEN, PEER_HMAC_LEN) == 0;
}
