#include "model/inline_rule.h"

static void push(struct inline_rule *rule, bool slow)
{
    uint64_t *word = &rule->slow[rule->next / 64];
    uint64_t bit = (uint64_t)1 << (rule->next % 64);
    if (rule->count == INLINE_RUNS && (*word & bit))
        rule->slow_count--;
    *word = slow ? *word | bit : *word & ~bit;
    rule->slow_count += slow;
    rule->next = (rule->next + 1) % INLINE_RUNS;
    rule->count = MIN(rule->count + 1, (uint32_t)INLINE_RUNS);
}

/* While there are few runs, a share of them says little: two may be slow. */
static bool quick(const struct inline_rule *rule)
{
    return rule->count >= INLINE_RUNS_MIN && rule->slow_count * 100 <= MAX(rule->count, 200u);
}

void inline_rule_init(struct inline_rule *rule, uint32_t runs, uint32_t slow_runs)
{
    *rule = (struct inline_rule){0};
    for (uint32_t i = 0; i < MIN(runs, (uint32_t)INLINE_RUNS); i++)
        push(rule, i < slow_runs);
}

bool inline_rule_allows(const struct inline_rule *rule, io_time now)
{
    return now >= rule->off_until && quick(rule);
}

bool inline_rule_wants_cpu(const struct inline_rule *rule)
{
    return rule->doubtful > 0 || rule->until_sample == 0;
}

void inline_rule_record(struct inline_rule *rule, io_time took, bool exact, io_time now)
{
    if (exact) {
        rule->until_sample = INLINE_SAMPLE_EVERY;
        rule->doubtful -= rule->doubtful > 0;
    } else {
        rule->until_sample -= rule->until_sample > 0;
        if (took >= INLINE_SLOW) {
            rule->doubtful = INLINE_DOUBTFUL;
            return;
        }
    }
    bool was_quick = quick(rule), stalls = took >= INLINE_STALL && rule->stall_left > 0;
    push(rule, took >= INLINE_SLOW);
    rule->stall_left =
        took >= INLINE_STALL ? INLINE_RUNS : rule->stall_left - (rule->stall_left > 0);
    if (stalls || (was_quick && !quick(rule)))
        rule->off_until = now + INLINE_REST;
}
