#include "base/alloc.h"
#include "io/uv/uv_private.h"

static void came(uv_signal_t *signal, int signal_number)
{
    struct iouv_watch *watch = signal->data;
    watch->fn(watch->arg, signal_number);
}

result iouv_signal(struct process *base, int signal_number,
                   void (*fn)(void *arg, int signal_number), void *arg)
{
    struct iouv_process *process = iouv_process(base);
    for (struct iouv_watch *w = process->watches; w; w = w->next) {
        if (w->signal.signum == signal_number)
            return fail(ERR_EXISTS);
    }
    struct iouv_watch *watch = MEM_NEW(struct iouv_watch);
    if (!watch)
        return fail(ERR_NO_MEMORY);
    watch->fn = fn;
    watch->arg = arg;
    watch->signal.data = watch;
    /* From here on it is freed with the process, also when the start fails. */
    int r = uv_signal_init(&iouv_loop(base->loops[0])->uv, &watch->signal);
    if (r < 0) {
        mem_free(watch);
        return fail(err_of_errno(-r));
    }
    watch->next = process->watches;
    process->watches = watch;
    r = uv_signal_start(&watch->signal, came, signal_number);
    return r < 0 ? fail(err_of_errno(-r)) : OK;
}

void iouv_signals_release(struct iouv_process *process)
{
    while (process->watches) {
        struct iouv_watch *watch = process->watches;
        process->watches = watch->next;
        mem_free(watch);
    }
}
