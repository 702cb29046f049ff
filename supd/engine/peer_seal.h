/* SPDX-License-Identifier: MIT */
#ifndef SUPD_ENGINE_PEER_SEAL_H
#define SUPD_ENGINE_PEER_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supd/config/model.h"
#include "supd/core/peer_msg.h"

/*
 * HMAC-SHA-256 of a datagram: over cluster name, sender's and receiver's node name (each with its
 * NUL), and the datagram.  So a message to one node, or of one cluster, proves nothing to another,
 * even where a key is used twice.
 */
void peer_seal(const struct model *m, uint32_t from, uint32_t to, const uint8_t *buf, size_t len,
	       uint8_t ret_mac[PEER_HMAC_LEN]);

/* The last PEER_HMAC_LEN bytes of the datagram are its seal.  In constant time. */
bool peer_seal_verify(const struct model *m, uint32_t from, uint32_t to, const uint8_t *datagram,
		      size_t len);

#endif
