#include "offset/pair/prefix_cache.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace unlearn {
namespace {

constexpr int64_t kPage = KvPages::kPageTokens;

std::array<int32_t, KvPages::kPageTokens> PageAt(absl::Span<const int32_t> tokens, int64_t page) {
  std::array<int32_t, KvPages::kPageTokens> result;
  std::copy_n(tokens.begin() + page * kPage, kPage, result.begin());
  return result;
}

}  // namespace

PrefixCache::PrefixCache(KvPages* cache) : cache_(cache) {
  cache_->set_reclaim([this](int64_t pages) { Reclaim(pages); });
}

PrefixCache::~PrefixCache() {
  cache_->set_reclaim(nullptr);
  for (auto& [key, root] : roots_) DropBelow(&root.node);
}

int64_t PrefixCache::Find(const Space& space, absl::Span<const int32_t> tokens, int sequence) {
  Node* node = &RootOf(space).node;
  std::vector<int32_t> pages;
  while (static_cast<int64_t>((pages.size() + 1) * kPage) <= static_cast<int64_t>(tokens.size())) {
    const auto child = node->children.find(PageAt(tokens, pages.size()));
    if (child == node->children.end()) break;
    node = child->second.get();
    pages.push_back(node->page);
  }
  Touch(node);
  cache_->Adopt(sequence, pages);
  return static_cast<int64_t>(pages.size()) * kPage;
}

void PrefixCache::Keep(const Space& space, absl::Span<const int32_t> tokens, int sequence) {
  Node* node = &RootOf(space).node;
  const absl::Span<const int32_t> pages = cache_->pages(sequence);
  const int64_t whole = std::min<int64_t>(tokens.size() / kPage, pages.size());
  for (int64_t page = 0; page < whole; ++page) {
    const PageTokens of_page = PageAt(tokens, page);
    std::unique_ptr<Node>& child = node->children[of_page];
    if (child == nullptr) {
      child = std::make_unique<Node>();
      child->page = pages[page];
      child->parent = node;
      child->tokens = of_page;
      child->used = by_use_.insert(by_use_.end(), child.get());
      cache_->Hold(child->page);
    } else if (child->page != pages[page]) {
      // Two streams ran the same tokens. One page is enough; and since a stream so uses every page
      // that is kept of its tokens, what no stream uses has nothing below it that one does.
      cache_->Replace(sequence, page, child->page);
    }
    node = child.get();
  }
  Touch(node);
}

void PrefixCache::DropGone() {
  for (auto it = roots_.begin(); it != roots_.end();) {
    Root& root = it->second;
    if (it->first.first != nullptr && root.stack.expired()) DropBelow(&root.node);
    it = root.node.children.empty() ? roots_.erase(it) : std::next(it);
  }
}

int64_t PrefixCache::reclaimable_pages() const {
  return std::count_if(by_use_.begin(), by_use_.end(),
                       [&](const Node* node) { return !cache_->IsShared(node->page); });
}

PrefixCache::Root& PrefixCache::RootOf(const Space& space) {
  Root& root = roots_[Key(space.stack.get(), space.tenant)];
  // Another stack may have had this address before.
  if (root.stack.lock() != space.stack) DropBelow(&root.node);
  root.stack = space.stack;
  return root;
}

void PrefixCache::Touch(Node* node) {
  for (; node->parent != nullptr; node = node->parent) {
    by_use_.splice(by_use_.end(), by_use_, node->used);
  }
}

void PrefixCache::DropBelow(Node* node) {
  while (!node->children.empty()) Drop(node->children.begin()->second.get());
}

void PrefixCache::Drop(Node* node) {
  DropBelow(node);
  by_use_.erase(node->used);
  cache_->Release(node->page);
  node->parent->children.erase(PageTokens(node->tokens));
}

void PrefixCache::Reclaim(int64_t pages) {
  DropGone();
  for (auto it = by_use_.begin(); it != by_use_.end() && pages > 0;) {
    Node* const node = *it++;
    // What a sequence still uses would come free for nobody.
    if (cache_->IsShared(node->page) || !node->children.empty()) continue;
    Drop(node);
    --pages;
  }
}

}  // namespace unlearn
