/* A hash map from byte strings to pointers.
 *
 * Entries lie side by side in the order of their insertion, beside an open-addressing
 * index of their places. So iteration is in insertion order, and no order depends on
 * an address or on the seed.
 *
 * Keys are not copied: a key's bytes belong to the caller and stay, unchanged, while
 * the entry does. Most often they lie in the value. Values are not owned either, and
 * are never NULL.
 *
 * Owner: the caller; one thread at a time. Reading from several threads at once is
 *        fine.
 * Bound: `entries_max`.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

struct map_entry {
    struct span key;
    void *value; /* NULL: removed; the place is filled again when the map is rebuilt */
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    uint32_t *index; /* place of an entry + 1; 0: empty. A power of two of them */
    uint64_t seed;
    size_t entries_max;
    size_t count;       /* entries that are there */
    size_t places, cap; /* entries used, removed ones included; entries allocated */
};

/* Takes no memory yet. The seed comes from io, so that whoever chooses the keys
 * cannot know what collides. `entries_max` is at most 2^31. */
void map_init(struct map *map, uint64_t seed, size_t entries_max);
/* Takes a zeroed map. Leaves it empty, with its seed and maximum. */
void map_release(struct map *map);

/* Adds an entry, or replaces the value and key of the one that is there, which keeps
 * its place in the order. ERR_EXHAUSTED at `entries_max`, ERR_NO_MEMORY; the map is
 * unchanged then. */
result map_set(struct map *map, struct span key, void *value);
/* The value, or NULL. */
void *map_get(const struct map *map, struct span key);
/* Removes an entry and returns its value; NULL when there was none. */
void *map_remove(struct map *map, struct span key);

/* The entry behind `entry`, the first one for NULL; NULL at the end. */
struct map_entry *map_next(const struct map *map, const struct map_entry *entry);
/* Visits entries in insertion order. Inside, entries may be removed, the present one
 * too, and none added. */
#define MAP_EACH(map, entry) \
    for (struct map_entry *entry = map_next((map), NULL); entry; entry = map_next((map), entry))

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with
 * one compression and three finalisation rounds), because keys come from the wire: a
 * keyed function made for short inputs, whose collisions cannot be found without the
 * seed. Its 128-bit key is (seed, seed times an odd constant). */
uint64_t hash_bytes(uint64_t seed, struct span bytes);
