// Leaks that are not ours, for LeakSanitizer (tools/test --sanitize), which asks for them by this
// name. c-ares, which gRPC resolves names with, now and then keeps the ten bytes of a host's name.
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares.so\n"; }
