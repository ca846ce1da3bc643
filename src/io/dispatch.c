/* The functions of io.h that each implementation answers by itself. */
#include "io/ops.h"

int process_loop_count(const struct process *process)
{
    return process->loop_count;
}

struct loop *process_loop(struct process *process, int index)
{
    ASSERT(index >= 0 && index < process->loop_count);
    return process->loops[index];
}

void process_run(struct process *process)
{
    process->ops->run(process);
}

void process_stop(struct process *process)
{
    process->ops->stop(process);
}

void process_free(struct process *process)
{
    if (process)
        process->ops->free(process);
}

int process_cores(struct process *process)
{
    return process->cores;
}

uint64_t process_memory(struct process *process)
{
    return process->memory;
}

void process_usage(struct process *process, struct process_usage *ret_usage)
{
    process->ops->usage(process, ret_usage);
}

uint64_t process_descriptors(struct process *process, uint64_t wanted)
{
    return process->ops->descriptors(process, wanted);
}

void process_exit_after(struct process *process, io_time patience, int code)
{
    if (process->ops->exit_after)
        process->ops->exit_after(process, patience, code);
}

void process_crash_report(struct process *process, const struct crash_report *report)
{
    if (process->ops->crash_report)
        process->ops->crash_report(process, report);
}

result process_program_folder(struct process *process, struct text *into)
{
    if (!process->ops->program_folder)
        return fail(ERR_UNSUPPORTED);
    return process->ops->program_folder(process, into);
}

const char *process_env(struct process *process, const char *name)
{
    return process->ops->env(process, name);
}

int process_id(const struct process *process)
{
    return process->id;
}

io_time process_clock(struct process *process)
{
    return process->ops->clock(process);
}

io_time process_wall(struct process *process)
{
    return process->ops->wall(process);
}

io_time process_thread_cpu(struct process *process)
{
    return process->ops->thread_cpu(process);
}

void process_random(struct process *process, struct span_mut bytes)
{
    process->ops->random(process, bytes);
}

uint64_t process_random_u64(struct process *process)
{
    uint64_t value;
    process->ops->random(process, (struct span_mut){(uint8_t *)&value, sizeof(value)});
    return value;
}

result process_signal(struct process *process, int signal_number,
                      void (*fn)(void *arg, int signal_number), void *arg)
{
    return process->ops->signal(process, signal_number, fn, arg);
}

result process_datagram(struct process *process, const char *path, struct span bytes)
{
    return process->ops->datagram(process, path, bytes);
}

/* ---- work -------------------------------------------------------------------- */

void work_submit(struct process *process, enum io_work_kind kind, struct io_work *work)
{
    ASSERT((unsigned)kind < WORK_KINDS && work->run);
    ASSERT(!work->done || work->home);
    process->ops->work_submit(process, kind, work);
}

int work_index(struct process *process)
{
    return process->ops->work_index(process);
}

int work_threads(struct process *process, enum io_work_kind kind)
{
    ASSERT((unsigned)kind < WORK_KINDS);
    return process->threads[kind];
}

/* ---- listeners ----------------------------------------------------------------- */

result listener_open(struct loop *loop, const struct io_address *address,
                     const struct listen_options *options, listener_fn fn, void *arg,
                     struct listener **ret_listener, struct diag *diag)
{
    static const struct listen_options plain;
    return loop->process->ops->listen(loop, address, options ? options : &plain, fn, arg,
                                      ret_listener, diag);
}

void listener_address(struct listener *listener, struct io_address *ret_address)
{
    listener->loop->process->ops->listener_address(listener, ret_address);
}

void listener_pause(struct listener *listener)
{
    listener->loop->process->ops->listener_pause(listener);
}

void listener_resume(struct listener *listener)
{
    listener->loop->process->ops->listener_resume(listener);
}

uint64_t listener_dropped(const struct listener *listener)
{
    return listener->dropped;
}

void listener_close(struct listener *listener)
{
    if (listener)
        listener->loop->process->ops->listener_close(listener);
}

/* ---- files --------------------------------------------------------------------- */

result file_stat(struct process *process, const char *path, struct file_info *ret_info,
                 struct diag *diag)
{
    return process->ops->file_stat(process, path, ret_info, diag);
}

result file_read(struct process *process, const char *path, struct text *into, struct diag *diag)
{
    return process->ops->file_read(process, path, into, diag);
}

result file_list(struct process *process, const char *path, void (*fn)(void *arg, const char *name),
                 void *arg, struct diag *diag)
{
    return process->ops->file_list(process, path, fn, arg, diag);
}

result file_append_open(struct process *process, const char *path, struct file **ret_file,
                        struct diag *diag)
{
    return process->ops->file_append_open(process, path, ret_file, diag);
}

struct file *file_standard(struct process *process, int descriptor)
{
    ASSERT(descriptor == 1 || descriptor == 2);
    return process->ops->file_standard(process, descriptor);
}

bool file_is_terminal(struct file *file)
{
    return file->process->ops->file_is_terminal(file);
}

result file_append(struct file *file, struct span bytes)
{
    return file->process->ops->file_append(file, bytes);
}

void file_close(struct file *file)
{
    if (file)
        file->process->ops->file_close(file);
}
