/* A lock of three states (0 free, 1 taken, 2 taken and waited for), after Drepper,
 * "Futexes are tricky", 2011: taking and giving a free lock costs one atomic operation
 * each. It spins shortly first, because it is held shortly; then it sleeps, because its
 * holder may have lost the core.
 *
 * Taking acquires and giving releases, so that what one holder wrote is seen by the
 * next. */
#include "io/ops.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 100

void io_lock_init(struct io_lock *lock, struct process *process)
{
    atomic_init(&lock->word, 0);
    lock->simulated = process->simulated;
}

static bool try_take(struct io_lock *lock)
{
    unsigned free_word = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &free_word, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static NOINLINE void take_slowly(struct io_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && try_take(lock))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
    /* Whoever has slept takes it as "waited for": there may be other sleepers. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void io_lock_take(struct io_lock *lock)
{
    if (LIKELY(try_take(lock)))
        return;
    ASSERT(!lock->simulated); /* one thread: whoever holds it would wait for itself */
    take_slowly(lock);
}

void io_lock_give(struct io_lock *lock)
{
    unsigned before = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    ASSERT(before != 0);
    if (UNLIKELY(before == 2))
        syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
