/* Worker threads: a queue, a mutex and a condition for each kind. */
#include "base/alloc.h"
#include "io/uv/uv_private.h"

#include <signal.h>
#include <stdio.h>

static const char *const kind_names[WORK_KINDS] = {"cpu", "file", "log"};

int iouv_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int r = pthread_create(&thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        *ret_thread = thread;
    return r;
}

static struct io_work *next_job(struct iouv_pool *pool)
{
    while (!pool->first && !pool->ending)
        pthread_cond_wait(&pool->filled, &pool->mutex);
    struct io_work *work = pool->first;
    if (work) {
        pool->first = work->next;
        if (!pool->first)
            pool->last = NULL;
    }
    return work;
}

static void *worker(void *arg)
{
    struct iouv_pool *pool = arg;
    void *stack = iouv_crash_stack();
    pthread_mutex_lock(&pool->mutex);
    int index = pool->born++;
    iouv_thread = (struct iouv_thread){.worker_of = pool->process, .worker = index};
    char name[16];
    snprintf(name, sizeof(name), "weir-%s%d", kind_names[pool->kind], index);
    pthread_setname_np(pthread_self(), name);
    struct io_work *work;
    while ((work = next_job(pool))) {
        pthread_mutex_unlock(&pool->mutex);
        work_run(work);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    iouv_crash_stack_end(stack);
    return NULL;
}

/* As many threads as can be had, at least one: at the start, since a job that is submitted
 * cannot fail. An errno. */
static int hire(struct iouv_pool *pool)
{
    int r = 0;
    while (r == 0 && pool->threads < pool->process->threads[pool->kind]) {
        r = iouv_thread_start(&pool->ids[pool->threads], worker, pool);
        pool->threads += r == 0;
    }
    return pool->threads > 0 ? 0 : r;
}

void iouv_work_submit(struct process *process, enum io_work_kind kind, struct io_work *work)
{
    struct iouv_pool *pool = &iouv_process(process)->pools[kind];
    work->next = NULL;
    pthread_mutex_lock(&pool->mutex);
    if (pool->last)
        pool->last->next = work;
    else
        pool->first = work;
    pool->last = work;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->mutex);
}

int iouv_work_index(struct process *process)
{
    return iouv_thread.worker_of == process ? iouv_thread.worker : -1;
}

result iouv_pools_init(struct iouv_process *process, struct diag *diag)
{
    for (int i = 0; i < WORK_KINDS; i++) {
        struct iouv_pool *pool = &process->pools[i];
        pool->process = &process->base;
        pool->kind = (enum io_work_kind)i;
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->filled, NULL);
    }
    for (int i = 0; i < WORK_KINDS; i++) {
        struct iouv_pool *pool = &process->pools[i];
        pool->ids = mem_zalloc((size_t)process->base.threads[i], sizeof(*pool->ids));
        if (!pool->ids)
            return diag_fail(diag, ERR_NO_MEMORY, "no memory for the workers");
        int r = hire(pool);
        if (r != 0)
            return diag_fail_errno(diag, r, "start a worker");
    }
    return OK;
}

static void join(struct iouv_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->filled);
    int threads = pool->threads;
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < threads; i++)
        pthread_join(pool->ids[i], NULL);
    pthread_mutex_lock(&pool->mutex);
    pool->threads = 0;
    pthread_mutex_unlock(&pool->mutex);
}

/* What was submitted while its threads left, or after: here. */
static bool run_rest(struct iouv_pool *pool)
{
    struct iouv_thread before = iouv_thread;
    bool any = false;
    iouv_thread = (struct iouv_thread){.worker_of = pool->process};
    for (struct io_work *work; (work = next_job(pool)); any = true) {
        pthread_mutex_unlock(&pool->mutex);
        work_run(work);
        pthread_mutex_lock(&pool->mutex);
    }
    iouv_thread = before;
    return any;
}

/* A job may submit one of another kind while its own ends: until nothing is left. */
void iouv_pools_join(struct iouv_process *process)
{
    for (int i = 0; i < WORK_KINDS; i++)
        join(&process->pools[i]);
    for (bool left = true; left;) {
        left = false;
        for (int i = 0; i < WORK_KINDS; i++) {
            struct iouv_pool *pool = &process->pools[i];
            pthread_mutex_lock(&pool->mutex);
            left = run_rest(pool) || left;
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

void iouv_pools_release(struct iouv_process *process)
{
    iouv_pools_join(process);
    for (int i = 0; i < WORK_KINDS; i++) {
        struct iouv_pool *pool = &process->pools[i];
        mem_free(pool->ids);
        pthread_cond_destroy(&pool->filled);
        pthread_mutex_destroy(&pool->mutex);
    }
}
