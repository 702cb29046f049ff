/* SPDX-License-Identifier: MIT */
#ifndef SUPD_SCRIBE_SCRIBE_H
#define SUPD_SCRIBE_SCRIBE_H

struct model;

/*
 * The scribe process: everything that may wait for a disk or for syslog.  No capability.
 *   - each program output: splice program pipe -> stage pipe -> file (no O_APPEND; written only
 *     from the stage, so a killed scribe repeats and loses nothing; FACTS: two held pipes);
 *   - the state file, on the engine's order;
 *   - `supctl logs`: sends a log to a client whose connection the engine has passed on;
 *   - the log of all roles: reads the framed lines of the log pipe (common/log.h), writes them to
 *     syslog or stderr.
 * Ends: the keeper's end of the channel closed: drains what the pipes still hold and exits 0.
 */
struct scribe_args {
	const struct model *m;
	int keeper_fd; /* channel: CHANNEL and STREAM messages come here */
	int log_fd;    /* read end of the log pipe */
};

int scribe_run(const struct scribe_args *args);

#endif
