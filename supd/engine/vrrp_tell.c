/* SPDX-License-Identifier: MIT */
#include "supd/engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

/*
 * What the adverts of a service look like, and what is said about those that do not look so: counted
 * always, logged at most once a minute for each reason, with the source and what differs.
 */

static const struct model_service *config_of(const struct engine_service *svc)
{
	return model_service(svc->engine->m, svc->row);
}

void vrrp_profile_of(const struct engine_service *svc, struct vrrp_profile *ret)
{
	const struct model_service *ms = config_of(svc);

	*ret = (struct vrrp_profile){.version = ms->vrrp_version,
				     .vrid = ms->vrid,
				     .family = model_vrrp_family(ms),
				     .interval = ms->advert_int,
				     .checksum = ms->checksum,
				     .auth = ms->auth_type};
	memcpy(ret->password, ms->auth_pass, sizeof(ret->password));
}

/* Of several addresses those of the family that the adverts are about (RFC 9568 section 5.2.9). */
void vrrp_advert_of(const struct engine_service *svc, uint8_t priority, struct vrrp_packet *ret)
{
	const struct model_service *ms = config_of(svc);
	const struct ip_addr link_local = vrrp_packet_link_local(ms->vrid);
	const uint32_t family = model_vrrp_family(ms);
	int first = -1;

	ret->priority = priority;
	ret->count = 0;
	ret->interval = ms->advert_int;
	for (int i = 0; i < ms->n_vips && first < 0; i++)
		if (ip_addr_is_link_local(&ms->vips[i]))
			first = i;
	if (family == AF_INET6)
		vrrp_packet_add(ret, first < 0 ? &link_local : &ms->vips[first]);
	for (int i = 0; i < ms->n_vips; i++)
		if (ms->vips[i].family == family && i != first)
			vrrp_packet_add(ret, &ms->vips[i]);
}

/* ---- refused -------------------------------------------------------------------------------- */

static const char *auth_name(unsigned type)
{
	return type == VRRP_AUTH_NONE ? "none" : type == VRRP_AUTH_PASS ? "pass" : "of another kind";
}

/* What differs from what was expected; `v` has at least a header. */
static void describe(const struct vrrp_profile *ours, enum vrrp_reject reason,
		     const struct vrrp_datagram *d, char *buf, size_t size)
{
	const uint8_t *v = d->message;

	switch (reason) {
	case VRRP_REJECT_VRID:
		snprintf(buf, size, ": it is %u, ours is %u", v[1], ours->vrid);
		break;
	case VRRP_REJECT_NOT_A_PEER:
		snprintf(buf, size,
			 ": VRID %u, priority %u, of no node here; does another router have our number?",
			 v[1], v[2]);
		break;
	case VRRP_REJECT_TTL:
		snprintf(buf, size, ": it is %d, must be 255", d->ttl);
		break;
	case VRRP_REJECT_VERSION:
		snprintf(buf, size, ": it is VRRPv%u, ours is %u", v[0] >> 4, ours->version);
		break;
	case VRRP_REJECT_TYPE:
		snprintf(buf, size, ": it is %u, must be 1", v[0] & 0x0f);
		break;
	case VRRP_REJECT_AUTH_TYPE:
		snprintf(buf, size, ": it is %s, ours is %s", auth_name(v[4]), auth_name(ours->auth));
		break;
	case VRRP_REJECT_COUNT:
	case VRRP_REJECT_LENGTH:
		snprintf(buf, size, ": %zu bytes with %u addresses", d->len, v[3]);
		break;
	case VRRP_REJECT_PASSWORD:
		snprintf(buf, size, ": it is not our auth_pass");
		break;
	case VRRP_REJECT_INTERVAL:
		snprintf(buf, size, ": it is %us, ours is %us", v[5],
			 (unsigned)(ours->interval / MTIME_SEC(1)));
		break;
	case VRRP_REJECT_LINK_LOCAL:
		snprintf(buf, size, ": its first address is not link-local");
		break;
	case VRRP_REJECT_NONE:
	case VRRP_REJECT_SHORT:
	case VRRP_REJECT_IP:
	case VRRP_REJECT_PROTOCOL:
	case VRRP_REJECT_CHECKSUM:
	case VRRP_REJECTS_END:
		break;
	}
}

void vrrp_tell_reject(struct engine_service *svc, enum vrrp_reject reason,
		      const struct vrrp_datagram *d)
{
	char src[IP_ADDR_TEXT], detail[120] = "";
	struct vrrp_profile ours;
	uint64_t missed;

	svc->rejects[reason]++;
	if (!ratelimit_pass(&svc->reject_log[reason], mtime_now(), &missed))
		return;
	vrrp_profile_of(svc, &ours);
	if (d->message != NULL && d->len >= 8)
		describe(&ours, reason, d, detail, sizeof(detail));
	log_warn("service %s: advert from %s refused for its %s%s (%llu more before), ignoring",
		 model_service_name(svc->engine->m, svc->row), ip_addr_text(&d->src, src),
		 vrrp_reject_name(reason), detail, (unsigned long long)missed);
}

/* ---- accepted, but -------------------------------------------------------------------------- */

static void tell_difference(struct engine_service *svc, enum vrrp_differ what,
			    const struct vrrp_packet *p, const char *detail)
{
	char src[IP_ADDR_TEXT];
	uint64_t missed;

	svc->differs[what]++;
	if (ratelimit_pass(&svc->differ_log[what], mtime_now(), &missed))
		log_warn("service %s: advert from %s has other %s than this node: %s (%llu more "
			 "before), going on",
			 model_service_name(svc->engine->m, svc->row), ip_addr_text(&p->src, src),
			 vrrp_differ_name(what), detail, (unsigned long long)missed);
}

void vrrp_tell_differences(struct engine_service *svc, const struct vrrp_packet *p)
{
	const struct model_service *ms = config_of(svc);
	struct vrrp_packet ours;
	char detail[80];

	vrrp_advert_of(svc, p->priority, &ours);
	if (p->interval != ms->advert_int) {
		snprintf(detail, sizeof(detail), "%lldms, here %lldms",
			 (long long)mtime_to_ms(p->interval),
			 (long long)mtime_to_ms(ms->advert_int));
		tell_difference(svc, VRRP_DIFFER_INTERVAL, p, detail);
	}
	if (vrrp_packet_same_addresses(p, &ours, model_vrrp_family(ms)))
		return;
	snprintf(detail, sizeof(detail), "%u of them, here %u", p->count, ours.count);
	tell_difference(svc, VRRP_DIFFER_ADDRESSES, p, detail);
}
