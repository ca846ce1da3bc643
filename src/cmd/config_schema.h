/* JSON Schema (draft 2020-12) of a file, from the tables.
 *
 * It says all that JSON Schema can: which keys there are and where, types, choices,
 * limits of plain numbers, the form of sizes and times. What it cannot: limits of values
 * with a unit, and whatever a variable stands for; `weir check` knows. Beside the
 * standard's words each key has x-weir-reload, x-weir-flag and x-weir-environment.
 */
#pragma once

#include "base/text.h"
#include "config/schema.h"

void config_schema(const struct config_module *const *modules, size_t count, struct text *into);
