/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "supd/core/service_internal.h"
#include "tests/sim/world.h"

/*
 * sim: many scenarios, one after the other, in a few processes.  A failing seed is run again with
 * fewer and fewer faults, as long as it fails, and the shortest story is told.
 */

#define JOBS_MAX    64
#define STORY_TOLD  120
#define FAILURES_TOLD 1

struct options {
	uint64_t first, seeds;
	bool one, trace, all, teeth;
	unsigned minutes, nodes, jobs;
	enum tooth tooth;
	const char *family;
	int *found; /* a worker has found what the others may stop looking for */
	bool expect; /* a rule is off: a violation is what we look for */
};

struct totals {
	uint64_t run, failed, moves, faults, starts, first_failed;
	mtime worst_outage;
};

/* The core's rules, in this build only. */
bool service_rule_off[SERVICE_RULES_END];

static const char *const rule_names[] = {
#define X(name) #name,
	SERVICE_RULES(X)
#undef X
};

static const char *const tooth_words[] = {
#define X(name, word, what) word,
	TEETH(X)
#undef X
};

/* ---- one scenario ------------------------------------------------------------------------------------ */

static struct world *world_new(const struct scenario *s)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->scenario = *s;
	return w;
}

static void world_free(struct world *w)
{
	world_fini(w);
	story_free(w->story);
	free(w);
}

static struct world *play(const struct scenario *s, bool tell, bool print)
{
	struct world *w = world_new(s);

	if (tell) {
		w->tell = true;
		w->print = print;
		w->story = story_new();
	}
	world_run(w);
	return w;
}

static bool fails(const struct scenario *s)
{
	struct world *w = play(s, false, false);
	bool failed = w->violation[0] != 0;

	world_free(w);
	return failed;
}

/* Take out every fault without which it still fails. */
static void minimise(struct scenario *s)
{
	bool shorter = true;

	while (shorter) {
		shorter = false;
		for (unsigned i = s->n_faults; i-- > 0;) {
			if (s->faults[i].off)
				continue;
			s->faults[i].off = true;
			if (fails(s))
				shorter = true;
			else
				s->faults[i].off = false;
		}
	}
}

static void describe(const struct scenario *s)
{
	if (s->family)
		printf("  family %s\n", s->family);
	printf("  advert_int %lld ms, %u nodes, %u program%s, %s, %s, wait_for_peer %lld s\n",
	       (long long)mtime_to_ms(s->advert_int), s->n_nodes, s->n_programs,
	       s->n_programs > 1 ? "s" : "", s->wrapper ? "wrapped" : "plain",
	       s->heavy ? "slow to be gone" : "soon gone",
	       (long long)(s->wait_for_peer / MTIME_SEC(1)));
	printf("  %u path%s of the peer link%s%s%s\n", s->paths, s->paths > 1 ? "s" : "",
	       s->hold ? ", on_peer_silence = hold" : "", s->fence_command ? ", fence_command" : "",
	       s->failback != MTIME_NEVER ? ", failback" : "");
	for (unsigned i = 0; i < s->n_nodes; i++)
		printf("  %c: priority %u, clock %+d ppm\n", story_name(i), s->priority[i],
		       s->rate_ppm[i]);
}

static void report_failure(const struct options *o, const struct scenario *original,
			   const char *violation)
{
	struct scenario s = *original;
	struct world *w;
	unsigned before = s.n_faults, after = 0;

	minimise(&s);
	for (unsigned i = 0; i < s.n_faults; i++)
		after += !s.faults[i].off;
	w = play(&s, true, false);
	printf("seed %llu: %s\n  again: sim --seed %llu", (unsigned long long)s.seed, violation,
	       (unsigned long long)s.seed);
	if (o->nodes)
		printf(" --nodes %u", o->nodes);
	if (o->family)
		printf(" --family %s", o->family);
	printf(" --minutes %u --trace\n", o->minutes);
	printf("  %u faults, of which %u make it fail with: %s\n", before, after, w->violation);
	describe(&s);
	story_print(w->story, STORY_TOLD);
	fflush(stdout);
	world_free(w);
}

static void run_seed(const struct options *o, uint64_t seed, struct totals *t)
{
	struct scenario s;
	struct world *w;

	scenario_draw(&s, seed, o->nodes, o->minutes, o->family);
	s.tooth = o->tooth;
	w = play(&s, false, false);
	t->run++;
	t->moves += w->moves;
	t->starts += w->starts;
	t->faults += w->faults_done;
	t->worst_outage = mtime_max(t->worst_outage, w->worst_outage);
	if (w->violation[0]) {
		if (!t->failed++)
			t->first_failed = seed;
		if ((!o->expect || o->one) && t->failed <= FAILURES_TOLD)
			report_failure(o, &s, w->violation);
		else if (!o->expect)
			printf("seed %llu: %s\n", (unsigned long long)seed, w->violation);
	}
	world_free(w);
}

static int trace_seed(const struct options *o)
{
	struct scenario s;
	struct world *w;
	int failed;

	scenario_draw(&s, o->first, o->nodes, o->minutes, o->family);
	s.tooth = o->tooth;
	describe(&s);
	w = play(&s, true, true);
	failed = w->violation[0] != 0;
	printf("%s\n", failed ? w->violation : "no violation");
	if (failed && !o->all)
		report_failure(o, &s, w->violation);
	world_free(w);
	return failed;
}

/* ---- many --------------------------------------------------------------------------------------------- */

static void work(const struct options *o, unsigned job, int fd)
{
	struct totals t = { 0 };

	for (uint64_t i = job; i < o->seeds; i += o->jobs) {
		run_seed(o, o->first + i, &t);
		if (t.failed && o->expect)
			*o->found = 1;
		if ((t.failed >= 20 && !o->all) || *(volatile int *)o->found)
			break;
	}
	fflush(stdout);
	if (write(fd, &t, sizeof(t)) != sizeof(t))
		_exit(2);
	_exit(0);
}

static void collect(struct totals *sum, const struct totals *t)
{
	if (t->failed && (!sum->failed || t->first_failed < sum->first_failed))
		sum->first_failed = t->first_failed;
	sum->run += t->run;
	sum->failed += t->failed;
	sum->moves += t->moves;
	sum->faults += t->faults;
	sum->starts += t->starts;
	sum->worst_outage = mtime_max(sum->worst_outage, t->worst_outage);
}

static int run_many(const struct options *o, struct totals *sum)
{
	int fds[JOBS_MAX];
	pid_t pids[JOBS_MAX];
	int bad = 0;

	*o->found = 0;
	fflush(stdout);
	for (unsigned j = 0; j < o->jobs; j++) {
		int p[2];

		if (pipe(p) < 0 || (pids[j] = fork()) < 0)
			return -errno;
		if (pids[j] == 0)
			work(o, j, p[1]);
		close(p[1]);
		fds[j] = p[0];
	}
	for (unsigned j = 0; j < o->jobs; j++) {
		struct totals t;
		int status = 0;

		if (read(fds[j], &t, sizeof(t)) == sizeof(t))
			collect(sum, &t);
		close(fds[j]);
		if (waitpid(pids[j], &status, 0) != pids[j] || status != 0)
			bad = -ECHILD;
	}
	return bad;
}

static double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int run_all(const struct options *o)
{
	struct totals t = { 0 };
	double began = now_seconds();

	if (run_many(o, &t) < 0) {
		fprintf(stderr, "sim: a worker process failed\n");
		return 2;
	}
	printf("%llu scenarios of %u min: %llu failed; %llu faults, %llu starts, %llu moves, "
	       "worst outage %.1f s; %.1f s\n",
	       (unsigned long long)t.run, o->minutes, (unsigned long long)t.failed,
	       (unsigned long long)t.faults, (unsigned long long)t.starts,
	       (unsigned long long)t.moves, (double)t.worst_outage / 1e9, now_seconds() - began);
	if (!o->expect)
		return t.failed != 0;
	printf(t.failed ? "the search finds it: seed %llu\n"
			: "nothing found: this rule is not tested, or not needed\n",
	       (unsigned long long)t.first_failed);
	return t.failed == 0;
}

/* ---- teeth -------------------------------------------------------------------------------------------------- */

/* There is no plain router in this world: tests/unit/service_plain, netns with keepalived. */
static const bool tested_elsewhere[SERVICE_RULES_END] = {
	[SERVICE_RULE_CLAIM] = true,
};

/* Without this rule, the same seeds; true: one of them breaks, and holds with it. */
static bool bites(const struct options *o, const char *name, bool *rule_off)
{
	struct totals t = { 0 }, with = { 0 };
	struct options again = *o;
	int bad;

	if (rule_off)
		*rule_off = true;
	bad = run_many(o, &t);
	if (rule_off)
		*rule_off = false;
	if (bad < 0 || !t.failed) {
		printf("%-16s NOTHING FOUND in %llu scenarios: not tested, or not needed\n", name,
		       (unsigned long long)t.run);
		return false;
	}
	again.tooth = TOOTH_NONE;
	run_seed(&again, t.first_failed, &with);
	if (with.failed) {
		printf("%-16s seed %llu fails with the rule, too\n", name,
		       (unsigned long long)t.first_failed);
		return false;
	}
	printf("%-16s found, seed %llu of %llu\n", name, (unsigned long long)t.first_failed,
	       (unsigned long long)t.run);
	return true;
}

static int run_teeth(const struct options *given)
{
	struct options o = *given;
	unsigned toothless = 0;

	o.expect = true;
	for (unsigned i = 1; i < TEETH_END; i++) {
		o.tooth = (enum tooth)i;
		toothless += !bites(&o, tooth_words[i], NULL);
	}
	o.tooth = TOOTH_NONE;
	for (unsigned i = 0; i < SERVICE_RULES_END; i++) {
		if (!tested_elsewhere[i])
			toothless += !bites(&o, rule_names[i], &service_rule_off[i]);
	}
	return toothless != 0;
}

/* ---- command line ---------------------------------------------------------------------------------------- */

static int usage(FILE *f)
{
	fprintf(f, "sim [--seed N] [--seeds N] [--first N] [--minutes M] [--nodes N] [--jobs N]\n"
		   "    [--family NAME] [--trace] [--all] [--without RULE | --teeth]\n"
		   "Nodes and family are drawn from the seed, unless given.  --teeth takes away one\n"
		   "rule after the other; the search must find what it prevents.\n"
		   "SIM_SEEDS overrides --seeds.  Rules that --without can take away:\n ");
	for (unsigned i = 1; i < TEETH_END; i++)
		fprintf(f, " %s", tooth_words[i]);
	for (unsigned i = 0; i < SERVICE_RULES_END; i++)
		fprintf(f, " %s", rule_names[i]);
	fprintf(f, "\n");
	return f == stderr ? 2 : 0;
}

static bool take_away(struct options *o, const char *name)
{
	o->expect = true;
	for (unsigned i = 1; i < TEETH_END; i++)
		if (!strcmp(name, tooth_words[i])) {
			o->tooth = (enum tooth)i;
			return true;
		}
	for (unsigned i = 0; i < SERVICE_RULES_END; i++)
		if (!strcmp(name, rule_names[i])) {
			service_rule_off[i] = true;
			return true;
		}
	return false;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", required_argument, NULL, 's' },   { "seeds", required_argument, NULL, 'n' },
		{ "first", required_argument, NULL, 'f' },  { "minutes", required_argument, NULL, 'm' },
		{ "nodes", required_argument, NULL, 'k' },  { "jobs", required_argument, NULL, 'j' },
		{ "trace", no_argument, NULL, 't' },	    { "teeth", no_argument, NULL, 'e' },
			    { "all", no_argument, NULL, 'a' },
		{ "family", required_argument, NULL, 'y' },
		{ "without", required_argument, NULL, 'w' },{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (c == 's') {
			o->first = n;
			o->seeds = 1;
			o->one = true;
		} else if (c == 'n') {
			o->seeds = n;
		} else if (c == 'f') {
			o->first = n;
		} else if (c == 'm') {
			o->minutes = (unsigned)n;
		} else if (c == 'k') {
			o->nodes = (unsigned)n;
		} else if (c == 'j') {
			o->jobs = (unsigned)n;
		} else if (c == 't') {
			o->trace = true;
		} else if (c == 'y') {
			o->family = optarg;
			if (!family_named(optarg))
				return -EINVAL;
		} else if (c == 'e') {
			o->teeth = true;
		} else if (c == 'a') {
			o->all = true;
		} else if (c != 'w' || !take_away(o, optarg)) {
			return -EINVAL;
		}
	}
	return o->nodes == 1 || o->nodes > WORLD_NODES_MAX || o->minutes < 3 || o->jobs < 1 ||
			       o->jobs > JOBS_MAX ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct options o = { .first = 1, .seeds = 1000, .minutes = 10, .nodes = 0,
			     .jobs = cpus > 0 && cpus < JOBS_MAX ? (unsigned)cpus : 1 };
	const char *seeds = getenv("SIM_SEEDS");

	o.found = mmap(NULL, sizeof(*o.found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (o.found == MAP_FAILED) {
		perror("sim: mmap");
		return 2;
	}
	if (parse(&o, argc, argv) < 0)
		return usage(stderr);
	if (seeds && !o.one)
		o.seeds = strtoull(seeds, NULL, 10);
	if (o.one || o.seeds < o.jobs)
		o.jobs = 1;
	if (o.teeth)
		return run_teeth(&o);
	return o.one && o.trace ? trace_seed(&o) : run_all(&o);
}
