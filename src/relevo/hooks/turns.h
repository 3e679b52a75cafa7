/* How urgent a launcher is, for `prompt.c`; `rights.py` says why, and does the same. */
#ifndef RELEVO_TURNS_H
#define RELEVO_TURNS_H

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Before all others, or before those that had no shorter turn than asked for. */
static void be_urgent(void)
{
    struct sched_param param = {.sched_priority = sched_get_priority_min(SCHED_RR)};
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } short_turn = {48, SCHED_OTHER, 1, getpriority(PRIO_PROCESS, 0), 0, 100000, 0, 0};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0 ||
        syscall(SYS_sched_setattr, 0, &short_turn, 0) == 0)
        return;
    param.sched_priority = 0;
    sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param);
}

static void be_patient(void)
{
    struct sched_param none = {.sched_priority = 0};
    sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
}

#endif
