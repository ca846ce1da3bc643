/* How the set keeps its loops' catalogs; the lookups themselves are in model/model.h.
 *
 * Each loop has a view of every version, made at boot. A change of state goes to each
 * loop by post, so that no loop reads what another writes.
 */
#pragma once

#include "model/servable.h"

/* Boot: makes all views of what was scanned, which is sorted. ERR_NO_MEMORY. */
result catalog_make(struct model_set *set);
void catalog_free(struct model_set *set);
/* Loop 0: tells all loops. `known`, unless NULL, is called on loop 0 once for each
 * loop that has taken it in. Each version is loading at most once, and ends up
 * available or not at most once. */
void catalog_change(struct servable *servable, enum model_state state, enum err error,
                    void (*known)(struct servable *servable));
