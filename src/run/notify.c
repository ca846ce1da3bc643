#include "run/run_private.h"

/* The protocol is one datagram of KEY=VALUE lines (sd_notify(3)); its loss is not ours
 * to mend. */
void run_notify(struct run *run, const char *state)
{
    if (run->notify_path)
        ignore(process_datagram(run->process, run->notify_path, span_cstr(state)));
}
