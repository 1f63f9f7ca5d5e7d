#ifndef TRAINER_QUEUE_REQUEST_ID_H_
#define TRAINER_QUEUE_REQUEST_ID_H_

#include <string>

namespace unlearn {

// "req-" and 16 random hex digits. Never derived from the request: an id outlives the text.
std::string RandomRequestId();

}  // namespace unlearn

#endif  // TRAINER_QUEUE_REQUEST_ID_H_
