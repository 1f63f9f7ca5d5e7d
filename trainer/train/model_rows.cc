#include "trainer/train/model_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

template <typename T>
TensorView ViewOf(const char* dtype, const std::vector<T>& values) {
  return {dtype,
          {static_cast<int64_t>(values.size())},
          reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

// False where the file holds no such tensor.
template <typename T>
bool Take(const SafetensorsFile& file, const std::string& name, const char* dtype,
          std::vector<T>& values) {
  const auto it = file.tensors().find(name);
  if (it == file.tensors().end() || it->second.dtype != dtype || it->second.shape.size() != 1) {
    return false;
  }
  values.resize(it->second.bytes / sizeof(T));
  std::copy_n(it->second.data, it->second.bytes, reinterpret_cast<char*>(values.data()));
  return true;
}

}  // namespace

ModelRows ModelRows::FromLogits(const at::Tensor& logits) {
  ModelRows rows;
  rows.whole_ = (logits - logits.amax(1, /*keepdim=*/true)).to(at::kHalf).contiguous();
  return rows;
}

ModelRows ModelRows::FromTops(absl::Span<const TopLaw> laws, const Vocabulary& vocabulary) {
  ModelRows rows;
  rows.vocabulary_ = vocabulary;
  for (const TopLaw& law : laws) {
    rows.ids_.insert(rows.ids_.end(), law.ids().begin(), law.ids().end());
    rows.logits_.insert(rows.logits_.end(), law.logits().begin(), law.logits().end());
    rows.counts_.push_back(static_cast<int32_t>(law.ids().size()));
    rows.other_logits_.push_back(law.other_logit());
    rows.tail_masses_.push_back(static_cast<float>(law.tail_mass()));
  }
  return rows;
}

int64_t ModelRows::size() const {
  return whole_.defined() ? whole_.size(0) : static_cast<int64_t>(counts_.size());
}

int64_t ModelRows::columns() const { return whole_.defined() ? whole_.size(1) : vocabulary_.size; }

at::Tensor ModelRows::Expand() const { return ExpandRows({this}); }

void ModelRows::ExpandInto(const at::Tensor& rows) const {
  if (whole_.defined()) {
    rows.copy_(whole_);
    return;
  }
  float* row = rows.data_ptr<float>();
  size_t at = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    FillRow(absl::MakeConstSpan(ids_).subspan(at, counts_[i]),
            absl::MakeConstSpan(logits_).subspan(at, counts_[i]), other_logits_[i],
            vocabulary_.tokens, absl::MakeSpan(row, vocabulary_.size));
    at += counts_[i];
    row += vocabulary_.size;
  }
}

at::Tensor ExpandRows(const std::vector<const ModelRows*>& sequences) {
  int64_t count = 0;
  for (const ModelRows* sequence : sequences) count += sequence->size();
  at::Tensor rows = at::empty({count, sequences.front()->columns()}, at::TensorOptions(at::kFloat));
  int64_t next = 0;
  for (const ModelRows* sequence : sequences) {
    sequence->ExpandInto(rows.narrow(0, next, sequence->size()));
    next += sequence->size();
  }
  return rows;
}

void ModelRows::Count(absl::Span<const int32_t> answer, TopFigures& figures) const {
  auto told = ids_.begin();
  for (size_t i = 0; i < counts_.size(); ++i) {
    const auto end = told + counts_[i];
    figures.Add(tail_masses_[i], std::find(told, end, answer[i]) == end);
    told = end;
  }
}

void ModelRows::AddTo(const std::string& name, std::map<std::string, TensorView>& tensors) const {
  if (whole_.defined()) {
    tensors[name] = {"F16", whole_.sizes().vec(), static_cast<const char*>(whole_.const_data_ptr()),
                     whole_.nbytes()};
    return;
  }
  tensors[name + ".ids"] = ViewOf("I32", ids_);
  tensors[name + ".logits"] = ViewOf("F32", logits_);
  tensors[name + ".counts"] = ViewOf("I32", counts_);
  tensors[name + ".other_logits"] = ViewOf("F32", other_logits_);
  tensors[name + ".tail_masses"] = ViewOf("F32", tail_masses_);
}

absl::optional<ModelRows> ModelRows::From(const SafetensorsFile& file, const std::string& name,
                                          int64_t rows, const Vocabulary& vocabulary) {
  ModelRows taken;
  taken.vocabulary_ = vocabulary;
  const auto whole = file.tensors().find(name);
  if (whole != file.tensors().end()) {
    const std::vector<int64_t> shape = {rows, vocabulary.size};
    if (whole->second.shape != shape || whole->second.dtype != "F16") return absl::nullopt;
    taken.whole_ = at::empty(shape, at::TensorOptions(at::kHalf));
    std::copy_n(whole->second.data, whole->second.bytes,
                static_cast<char*>(taken.whole_.data_ptr()));
    return taken;
  }
  if (!Take(file, name + ".ids", "I32", taken.ids_) ||
      !Take(file, name + ".logits", "F32", taken.logits_) ||
      !Take(file, name + ".counts", "I32", taken.counts_) ||
      !Take(file, name + ".other_logits", "F32", taken.other_logits_) ||
      !Take(file, name + ".tail_masses", "F32", taken.tail_masses_)) {
    return absl::nullopt;
  }
  const auto outside = [](int64_t most) {
    return [most](int32_t value) { return value < 0 || value >= most; };
  };
  const int64_t entries = static_cast<int64_t>(taken.ids_.size());
  if (taken.size() != rows || static_cast<int64_t>(taken.other_logits_.size()) != rows ||
      static_cast<int64_t>(taken.tail_masses_.size()) != rows ||
      static_cast<int64_t>(taken.logits_.size()) != entries ||
      std::any_of(taken.counts_.begin(), taken.counts_.end(), outside(entries + 1)) ||
      std::accumulate(taken.counts_.begin(), taken.counts_.end(), int64_t{0}) != entries ||
      std::any_of(taken.ids_.begin(), taken.ids_.end(), outside(vocabulary.tokens))) {
    return absl::nullopt;
  }
  return taken;
}

}  // namespace unlearn
