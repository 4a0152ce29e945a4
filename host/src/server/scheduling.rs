//! How the kernel schedules request threads.

/// Makes the calling thread one that works through what there is (`SCHED_BATCH`, sched(7)): when a
/// request wakes it, nginx's worker is not taken off its processor for that, but goes on with its
/// events, and the thread finds several requests at once. On an idle processor it starts as soon as
/// ever. Threads and processes that the application starts inherit this, as they do a priority. A
/// policy that somebody has chosen stays.
pub fn prefer_throughput() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the calls concern the calling thread only; the parameters live during the call.
    unsafe {
        if libc::sched_getscheduler(0) == libc::SCHED_OTHER {
            // Where that is forbidden, threads are scheduled as usual.
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters);
        }
    }
}
