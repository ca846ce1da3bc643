#include "base/map.h"

#include "base/alloc.h"

#define PLACES_MIN ((size_t)8)

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* SipRound, section 2.2 of the paper. */
static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t hash_bytes(uint64_t seed, struct span bytes)
{
    uint64_t k0 = seed, k1 = seed * 0x9e3779b97f4a7c15u;
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u};
    struct cursor c = cursor_of(bytes);
    uint64_t word;
    while (cursor_u64le(&c, &word))
        sip_absorb(v, word);
    word = (uint64_t)bytes.len << 56;
    for (size_t i = 0; i < c.rest.len; i++)
        word |= (uint64_t)c.rest.ptr[i] << (8 * i);
    sip_absorb(v, word);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *map, uint64_t seed, size_t entries_max)
{
    ASSERT(entries_max <= (size_t)1 << 31);
    *map = (struct map){.seed = seed, .entries_max = entries_max};
}

void map_release(struct map *map)
{
    mem_free(map->entries);
    mem_free(map->index);
    map_init(map, map->seed, map->entries_max);
}

/* Twice as many index cells as entries, so that probing stays short. */
static size_t index_mask(const struct map *map)
{
    return map->cap * 2 - 1;
}

/* The index cell that leads to `key`, or the empty one where it would go. */
static size_t find_cell(const struct map *map, struct span key, uint64_t hash)
{
    size_t mask = index_mask(map), cell = hash & mask;
    for (; map->index[cell]; cell = (cell + 1) & mask) {
        const struct map_entry *entry = &map->entries[map->index[cell] - 1];
        if (entry->hash == hash && span_eq(entry->key, key))
            break;
    }
    return cell;
}

/* Copies what is there, without the removed entries, into new memory that has room
 * for one more. */
static bool rebuild(struct map *map)
{
    /* Without many removed entries the capacity doubles, else it may stay. */
    size_t cap = PLACES_MIN;
    while (cap < map->count + map->count / 2 + 1)
        cap *= 2;
    struct map built = {.seed = map->seed, .entries_max = map->entries_max, .cap = cap};
    built.entries = mem_zalloc(cap, sizeof(*built.entries));
    built.index = mem_zalloc(cap * 2, sizeof(*built.index));
    if (!built.entries || !built.index) {
        map_release(&built);
        return false;
    }
    MAP_EACH (map, entry) {
        size_t mask = index_mask(&built), cell = entry->hash & mask;
        while (built.index[cell])
            cell = (cell + 1) & mask;
        built.entries[built.places] = *entry;
        built.index[cell] = (uint32_t)++built.places;
    }
    built.count = built.places;
    map_release(map);
    *map = built;
    return true;
}

result map_set(struct map *map, struct span key, void *value)
{
    ASSERT(value);
    uint64_t hash = hash_bytes(map->seed, key);
    size_t cell = 0;
    if (map->cap) {
        cell = find_cell(map, key, hash);
        if (map->index[cell]) {
            struct map_entry *entry = &map->entries[map->index[cell] - 1];
            entry->key = key;
            entry->value = value;
            return OK;
        }
    }
    if (map->count >= map->entries_max)
        return fail(ERR_EXHAUSTED);
    if (map->places == map->cap) {
        if (!rebuild(map))
            return fail(ERR_NO_MEMORY);
        cell = find_cell(map, key, hash);
    }
    map->entries[map->places] = (struct map_entry){key, value, hash};
    map->index[cell] = (uint32_t)++map->places;
    map->count++;
    return OK;
}

void *map_get(const struct map *map, struct span key)
{
    if (map->count == 0)
        return NULL;
    uint32_t place = map->index[find_cell(map, key, hash_bytes(map->seed, key))];
    return place ? map->entries[place - 1].value : NULL;
}

/* Empties an index cell and moves back those that probing led past it (Knuth, The Art
 * of Computer Programming 3, 6.4, Algorithm R), so that no marks of removed entries
 * slow later searches down. */
static void empty_cell(struct map *map, size_t hole)
{
    size_t mask = index_mask(map);
    for (size_t cell = (hole + 1) & mask; map->index[cell]; cell = (cell + 1) & mask) {
        size_t home = map->entries[map->index[cell] - 1].hash & mask;
        if (((cell - home) & mask) >= ((cell - hole) & mask)) {
            map->index[hole] = map->index[cell];
            hole = cell;
        }
    }
    map->index[hole] = 0;
}

void *map_remove(struct map *map, struct span key)
{
    if (map->count == 0)
        return NULL;
    size_t cell = find_cell(map, key, hash_bytes(map->seed, key));
    if (!map->index[cell])
        return NULL;
    struct map_entry *entry = &map->entries[map->index[cell] - 1];
    void *value = entry->value;
    empty_cell(map, cell);
    entry->key = SPAN_NONE;
    entry->value = NULL;
    map->count--;
    return value;
}

struct map_entry *map_next(const struct map *map, const struct map_entry *entry)
{
    size_t place = entry ? (size_t)(entry - map->entries) + 1 : 0;
    for (; place < map->places; place++)
        if (map->entries[place].value)
            return &map->entries[place];
    return NULL;
}
