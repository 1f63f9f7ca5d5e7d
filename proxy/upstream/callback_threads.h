#ifndef PROXY_UPSTREAM_CALLBACK_THREADS_H_
#define PROXY_UPSTREAM_CALLBACK_THREADS_H_

namespace unlearn {

// Keeps gRPC's callback threads until the process ends; to be called before the first client
// reactor. A stream ends on one of these threads, and with the last stream may go the channel. The
// destructor of the last channel that used the threads joins them: a thread would join itself
// (gRPC 1.51 then frees twice). Thread-safe; any number of calls.
void KeepCallbackThreads();

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_CALLBACK_THREADS_H_
