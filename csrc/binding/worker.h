// Native threads beside a JavaScript environment.
//
// A Worker is one thread with a queue of jobs. A Job runs on that thread; its promise is settled on the JavaScript
// thread. libuv's pool is never used, so long jobs starve nobody. A Host is what one environment (main thread or
// worker_threads worker) knows of its workers: it stops and joins them before the environment dies, so that
// terminate(), process.exit() and a plain end of the program are safe while an engine is training.
#ifndef BW_BINDING_WORKER_H
#define BW_BINDING_WORKER_H

#include "js.h"

#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#include "../core/pool.h"
#include "../core/posix.h"
#include "errors.h"

namespace bellows {

class Worker;

struct Job {
  uint64_t ticket = 0;                            // grows with each job of a worker
  bool last = false;                              // the thread ends after this job
  const char* op = "";                            // static string
  std::function<bw_status(bw_error*)> run;        // on the worker's thread
  std::function<Napi::Value(Napi::Env)> convert;  // on the JavaScript thread, after BW_OK
  std::function<void(Napi::Env)> settled;         // on the JavaScript thread, always, as its last use
  napi_deferred deferred = nullptr;               // from when it is posted
  std::shared_ptr<Worker> worker;
  bw_status status = BW_OK;
  bool closed = false;  // never ran: the worker was closed first
  bw_error error{};
  std::unique_ptr<Job> next;  // in a Queue

  void Run() noexcept {
    try {
      if (run) status = run(&error);
    } catch (const std::bad_alloc&) {
      status = FailMemory(&error, op);
    }
  }
};

// Jobs in order. The links lie in the jobs, so that a job which exists can always be queued.
class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  // One by one: a chain of destructors would be as deep as the queue is long.
  ~Queue() {
    while (head_) Pop();
  }

  bool empty() const { return !head_; }
  void Push(std::unique_ptr<Job> job) {
    Job* last = job.get();
    (tail_ ? tail_->next : head_) = std::move(job);
    tail_ = last;
  }
  std::unique_ptr<Job> Pop() {
    std::unique_ptr<Job> job = std::move(head_);
    head_ = std::move(job->next);
    if (!head_) tail_ = nullptr;
    return job;
  }
  void CloseAll() {
    for (Job* job = head_.get(); job; job = job->next.get()) job->closed = true;
  }

 private:
  std::unique_ptr<Job> head_;
  Job* tail_ = nullptr;
};

// What one JavaScript environment holds.
class Host {
 public:
  // Called once an environment; false (and a pending exception) when it fails. The cleanup hook is added after the
  // thread-safe function, so that it runs first.
  static bool Install(Napi::Env env) {
    auto holder = std::make_unique<std::shared_ptr<Host>>(std::make_shared<Host>());
    Host* host = holder->get();
    napi_value name;
    napi_create_string_utf8(env, "bellows", NAPI_AUTO_LENGTH, &name);
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, &Host::Settle,
                                        &host->settle_) != napi_ok) {
      Napi::Error::New(env, "bellows: cannot create a thread-safe function").ThrowAsJavaScriptException();
      return false;
    }
    napi_unref_threadsafe_function(env, host->settle_);
    napi_set_instance_data(
        env, holder.release(), [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Host>*>(data); },
        nullptr);
    napi_add_env_cleanup_hook(
        env, [](void* data) { static_cast<Host*>(data)->StopAll(); }, host);
    return true;
  }

  static std::shared_ptr<Host> Of(Napi::Env env) {
    void* data = nullptr;
    napi_get_instance_data(env, &data);
    return *static_cast<std::shared_ptr<Host>*>(data);
  }

  inline void StopAll();

 private:
  friend class Worker;

  // Whether calls that may run JavaScript still work.
  static bool CanRun(napi_env env) {
    napi_value object;
    return napi_create_object(env, &object) == napi_ok &&
           napi_set_named_property(env, object, "self", object) == napi_ok;
  }

  static inline void Settle(napi_env env, napi_value, void*, void* data);

  napi_threadsafe_function settle_ = nullptr;
  int pending_ = 0;                            // jobs whose promise is not settled; they keep the event loop alive
  std::set<std::shared_ptr<Worker>> workers_;  // with a thread; JavaScript thread only
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  // cancel: makes the running job end soon; any thread, may be called at any time before the thread is joined.
  // end: runs on the thread as its last act. Either may be empty.
  // Null when the system gives no thread.
  static std::shared_ptr<Worker> Start(Napi::Env env, std::function<void()> cancel, std::function<void()> end) {
    auto worker = std::make_shared<Worker>();
    worker->host_ = Host::Of(env);
    worker->cancel_ = std::move(cancel);
    worker->end_ = std::move(end);
    // All memory first: once the thread runs, nothing may fail.
    std::set<std::shared_ptr<Worker>> owned{worker};
    std::set<Worker*> live{worker.get()};
#ifndef _WIN32  // there the system has ended all other threads when a library hears of the end
    {
      std::lock_guard<std::mutex> lock(LiveMutex());
      static bool registered = false;
      if (!registered) registered = std::atexit(&Worker::StopLive) == 0;
      if (!registered) return nullptr;
    }
#endif
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return nullptr;
    // The systems' defaults for second threads differ (512 KiB on macOS); the engine sees one size everywhere.
    pthread_attr_setstacksize(&attributes, size_t{8} << 20);
    int failed = pthread_create(&worker->thread_, &attributes, &Worker::Main, worker.get());
    pthread_attr_destroy(&attributes);
    if (failed) return nullptr;
    worker->joinable_ = true;
    worker->host_->workers_.merge(owned);
    std::lock_guard<std::mutex> lock(LiveMutex());
    Live().merge(live);
    return worker;
  }

  // JavaScript thread. Returns the job's promise. Needs no memory of its own.
  Napi::Value Post(Napi::Env env, std::unique_ptr<Job> job) {
    Napi::Value promise = MakePromise(env, &job->deferred);
    if (promise.IsEmpty()) return promise;  // terminated: the host stops this worker soon
    job->worker = shared_from_this();
    if (host_->pending_++ == 0) napi_ref_threadsafe_function(env, host_->settle_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job->ticket = ++tickets_;
      // Jobs that have not begun give way to the last one: their promises settle as closed, in order.
      if (job->last) queue_.CloseAll();
      queue_.Push(std::move(job));
    }
    wake_.notify_one();
    return promise;
  }

  // Ticket of the newest job posted. JavaScript thread.
  uint64_t newest() const { return tickets_; }

  // Ends and joins the thread without settling promises; idempotent. JavaScript thread, or process exit.
  void Stop() {
    if (!joinable_) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    if (cancel_) cancel_();
    wake_.notify_one();
    Join();
  }

 private:
  friend class Host;

  void Join() {
    if (!joinable_) return;
    std::shared_ptr<Worker> self = shared_from_this();
    pthread_join(thread_, nullptr);
    joinable_ = false;
    host_->workers_.erase(self);
    std::lock_guard<std::mutex> lock(LiveMutex());
    Live().erase(this);
  }

  static void* Main(void* self) {
    static_cast<Worker*>(self)->Loop();
    return nullptr;
  }

  void Loop() {
    Queue dropped;
    for (bool last = false; !last;) {
      std::unique_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (stop_) break;
        job = queue_.Pop();
      }
      last = job->last;
      if (!job->closed) job->Run();
      if (last) End();
      std::lock_guard<std::mutex> lock(mutex_);
      if (stop_) {
        dropped.Push(std::move(job));
        break;
      }
      Job* raw = job.release();
      if (napi_call_threadsafe_function(host_->settle_, raw, napi_tsfn_nonblocking) != napi_ok) {
        dropped.Push(std::unique_ptr<Job>(raw));
        break;
      }
    }
    End();
    std::lock_guard<std::mutex> lock(mutex_);
    while (!queue_.empty()) dropped.Push(queue_.Pop());
    // Dropped jobs hold this worker, but the host does too until it is joined: never the last reference.
  }

  void End() {
    if (end_) end_();
    end_ = nullptr;
  }

  // process.exit() of the main thread runs no environment cleanup; exit handlers do the same work there.
  static void StopLive() {
    for (;;) {
      Worker* worker;
      {
        std::lock_guard<std::mutex> lock(LiveMutex());
        if (Live().empty()) return;
        worker = *Live().begin();
      }
      worker->Stop();
    }
  }
  static std::mutex& LiveMutex() { return Lasting<std::mutex>(); }
  static std::set<Worker*>& Live() { return Lasting<std::set<Worker*>>(); }
  // Never destroyed, since exit handlers of other modules may run later; not on the heap, where it would pass for a
  // leak.
  template <class T>
  static T& Lasting() {
    alignas(T) static unsigned char room[sizeof(T)];
    static T* object = new (room) T;
    return *object;
  }

  std::shared_ptr<Host> host_;
  std::function<void()> cancel_, end_;
  pthread_t thread_{};
  bool joinable_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  Queue queue_;
  bool stop_ = false;
  uint64_t tickets_ = 0;
};

void Host::StopAll() {
  while (!workers_.empty()) {
    std::shared_ptr<Worker> worker = *workers_.begin();
    worker->Stop();
  }
}

void Host::Settle(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (env == nullptr) return;  // the environment is going away
  Napi::Env e(env);
  std::shared_ptr<Worker> worker = job->worker;
  if (job->last) worker->Join();
  Host* host = worker->host_.get();
  if (--host->pending_ == 0) napi_unref_threadsafe_function(env, host->settle_);
  if (!CanRun(env)) return;  // terminated: nobody waits for the promise any more
  if (job->closed) {
    napi_reject_deferred(env, job->deferred, ClosedObject(e, job->op));
  } else if (job->status != BW_OK) {
    napi_reject_deferred(env, job->deferred, ErrorObject(e, job->status, job->error));
  } else {
    try {
      napi_resolve_deferred(env, job->deferred, job->convert ? job->convert(e) : e.Undefined());
    } catch (const std::bad_alloc&) {
      napi_reject_deferred(env, job->deferred, MemoryObject(e, job->op));
    }
  }
  if (job->settled) job->settled(e);
}

// A job with a result of type R: run fills it on the worker's thread, convert reads it on the JavaScript thread.
template <class R, class Run, class Convert>
std::unique_ptr<Job> MakeJob(const char* op, Run run, Convert convert) {
  auto job = std::make_unique<Job>();
  auto result = std::make_shared<R>();
  job->op = op;
  job->run = [result, run](bw_error* error) { return run(*result, error); };
  job->convert = [result, convert](Napi::Env e) -> Napi::Value { return convert(e, *result); };
  return job;
}

// A promise for a job on a thread of its own. cancel may be empty.
inline Napi::Value Alone(Napi::Env env, std::unique_ptr<Job> job, std::function<void()> cancel) {
  job->last = true;
  std::shared_ptr<Worker> worker = Worker::Start(env, std::move(cancel), nullptr);
  if (!worker) {
    bw_error error{};
    return Rejected(env, ErrorObject(env, bw_fail_thread(&error, job->op, 1, 1), error));
  }
  return worker->Post(env, std::move(job));
}

}  // namespace bellows

#endif
