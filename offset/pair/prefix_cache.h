#ifndef OFFSET_PAIR_PREFIX_CACHE_H_
#define OFFSET_PAIR_PREFIX_CACHE_H_

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "offset/model/kv_pages.h"
#include "offset/model/lora.h"

namespace unlearn {

// Keys and values of prompts that ran before, kept for the next one that begins alike. They are
// found by the tokens themselves, not by a hash of them, so that one prompt can never be served
// with another's. Whole pages only. What the pool needs, it takes back, longest unused first.
// Not thread-safe: it belongs to the thread that owns the pages.
class PrefixCache {
 public:
  // Who may share pages. Those of the reference (stack: null) serve every version; those of an
  // offset only its own stack. A tenant never meets another's pages: how fast a prompt is answered
  // would tell who else has sent it.
  struct Space {
    std::shared_ptr<const LoraStack> stack;
    std::string tenant;
  };

  explicit PrefixCache(KvPages* cache);
  ~PrefixCache();

  // Gives an empty sequence the pages of the longest known beginning of `tokens` and returns how
  // many tokens they hold.
  int64_t Find(const Space& space, absl::Span<const int32_t> tokens, int sequence);

  // Keeps the whole pages of a sequence that holds `tokens` from its position 0 on.
  void Keep(const Space& space, absl::Span<const int32_t> tokens, int sequence);

  // Drops the pages of adapter stacks that nobody else holds: a version that is gone must not come
  // back under the same address, and its memory is wanted.
  void DropGone();

  // Pages that are held here and by no sequence.
  int64_t reclaimable_pages() const;

 private:
  using PageTokens = std::array<int32_t, KvPages::kPageTokens>;
  struct Node {
    int32_t page = -1;
    Node* parent = nullptr;
    PageTokens tokens;
    std::map<PageTokens, std::unique_ptr<Node>> children;
    std::list<Node*>::iterator used;
  };
  struct Root {
    std::weak_ptr<const LoraStack> stack;  // empty: the reference's
    Node node;                             // of no page
  };
  using Key = std::pair<const LoraStack*, std::string>;

  // Marks a node and those above it as used now; parents after children, so that the node that is
  // longest unused has no children.
  void Touch(Node* node);
  Root& RootOf(const Space& space);
  void Drop(Node* node);  // with all below it
  void DropBelow(Node* node);
  void Reclaim(int64_t pages);

  KvPages* const cache_;
  std::map<Key, Root> roots_;
  std::list<Node*> by_use_;  // longest unused first
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_PREFIX_CACHE_H_
