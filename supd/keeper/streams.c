/* SPDX-License-Identifier: MIT */
#include "supd/keeper/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/fd.h"
#include "supd/keeper/roles.h"
#include "supd/keeper/state.h"

static void tell(struct keeper *k, const struct program *p, int output)
{
	const struct stream *s = &p->out[output];
	const int fds[] = { s->program[0], s->stage[0], s->stage[1] };
	const struct ipc_stream m = { .h = { IPC_STREAM, k->generation },
				      .program = (int32_t)p->row,
				      .output = output };

	if (s->program[0] >= 0)
		role_send(&k->roles[ROLE_SCRIBE], &m, sizeof(m), fds, 3);
}

/*
 * Only the ends that the scribe works on are non-blocking: a program has a plain pipe for its
 * output.  It belongs to the program's user, who may open it again by /dev/stderr.
 */
static int make(struct stream *s, const struct model_program *mp)
{
	int r;

	if (s->program[0] >= 0)
		return 0;
	r = fd_pipe(s->program, 0);
	if (r < 0)
		return r;
	r = fd_pipe(s->stage, O_NONBLOCK);
	if (r == 0)
		r = fd_set_nonblock(s->program[0]);
	if (r == 0 && fchown(s->program[1], mp->uid, mp->gid) < 0)
		r = -errno;
	if (r < 0)
		for (int i = 0; i < 2; i++) {
			fd_close(&s->program[i]);
			fd_close(&s->stage[i]);
		}
	return r;
}

int streams_open(struct keeper *k, struct program *p)
{
	const struct model_program *mp = model_program(k->m, p->row);
	const int outputs = mp->redirect_stderr ? 1 : 2;

	for (int i = 0; i < outputs; i++) {
		bool made = p->out[i].program[0] < 0;
		int r = make(&p->out[i], mp);

		if (r < 0)
			return r;
		if (made)
			tell(k, p, i);
	}
	return 0;
}

void streams_tell_all(struct keeper *k)
{
	for (uint32_t i = 0; i < k->m->n_programs; i++)
		for (int output = 0; output < 2; output++)
			tell(k, &k->programs[i], output);
}
