/* One value of a key: from text, and back to text.
 *
 * `field` is where the key's value lies, of the type that schema.h names beside
 * the key's type. The texts are those of YAML 1.2's core schema where it has the
 * type (10.3.2): `yes` is no boolean, and a number in quotes is a text. Units:
 *
 *   size   B, kB MB GB TB (powers of 1000), KiB MiB GiB TiB (powers of 1024);
 *          a bare number is bytes; printed in the largest that divides it
 *   time   ns us ms s m h; a bare number only when it is 0
 *
 * Numbers have no leading zeros: whether 0600 is octal depends on whom one asks.
 */
#pragma once

#include "base/arena.h"
#include "base/text.h"
#include "config/schema.h"

/* Sets the field to what `text` says; a list of texts grows by it. `quoted`: the
 * text stood in quotes. Texts are copied to the arena. On failure the field is as
 * it was, and the message is "expected …, got '…'". Not for LIST and MAP. */
result config_value_parse(const struct config_key *key, struct span text, bool quoted,
                          struct arena *arena, void *field, struct diag *diag);
/* Fails with the message of `config_value_parse`: "expected …, got <what>". */
result config_value_refuse(const struct config_key *key, enum err code, const char *what,
                           struct diag *diag);
/* Appends the value as it would stand in a file; equal values give equal text, and
 * the text gives the value. "null" for a text that is not set, "(secret)" for a
 * secret that is set. For LIST and MAP: the number of elements. */
void config_value_format(const struct config_key *key, const void *field, struct text *into);

/* Appends a regular expression (ECMA-262, unanchored) of what a size or time looks like. */
void config_value_pattern(enum config_type type, struct text *into);

/* The size of the field that a type needs. */
size_t config_type_size(enum config_type type);
/* How many elements (LIST, MAP, TEXTS) or bytes (texts) the key allows. */
size_t config_count_max(const struct config_key *key);
