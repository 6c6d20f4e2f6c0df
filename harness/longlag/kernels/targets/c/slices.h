/* A pass in slices of the batch, one thread each. The struct Call is declared before: of it B and threads are read. */
#ifndef LONGLAG_SLICES_H
#define LONGLAG_SLICES_H
#include <pthread.h>
#include <stdlib.h>

/* Runs the examples b0 to b0 + nb of slice number `slice`; returns 1 without memory */
typedef int (*slice_function)(const Call *c, long slice, long b0, long nb);

typedef struct {
    const Call *c;
    slice_function run;
    long slice;
    int failed, started;
    pthread_t thread;
} Job;

static void *work(void *argument) {
    Job *job = argument;
    const Call *c = job->c;
    const long b0 = c->B * job->slice / c->threads, b1 = c->B * (job->slice + 1) / c->threads;
    const int before = c->limit_threads ? c->limit_threads(1) : 0; /* BLAS holds this setting for each thread */
    job->failed = job->run(c, job->slice, b0, b1 - b0);
    if (c->limit_threads) c->limit_threads(before);
    if (job->started && c->free_buffers) c->free_buffers(); /* this thread ends: BLAS must not keep its buffers */
    return NULL;
}

static int in_slices(const Call *c, slice_function run) {
    Job *jobs = calloc((size_t)c->threads, sizeof(Job));
    int failed = 0;
    if (!jobs) return 1;
    for (long k = c->threads - 1; k >= 0; k--) {
        jobs[k] = (Job){.c = c, .run = run, .slice = k, .started = k > 0};
        if (k == 0 || pthread_create(&jobs[k].thread, NULL, work, &jobs[k])) {
            jobs[k].started = 0;
            work(&jobs[k]);
        }
    }
    for (long k = 0; k < c->threads; k++) {
        if (jobs[k].started) pthread_join(jobs[k].thread, NULL);
        failed |= jobs[k].failed;
    }
    free(jobs);
    return failed;
}

#endif
