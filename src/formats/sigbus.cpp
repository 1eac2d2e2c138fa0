#include "formats/sigbus.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/printable.h"

namespace rapt {

// A signal handler may neither lock nor allocate, so the names lie in a fixed table of atomics.
struct MappingSlot {
  std::atomic<bool> taken{false};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::array<char, 256> file{};
};

namespace {

std::array<MappingSlot, 256> slots;

void print(const char* text) {
  // Nothing can be done about a failure here.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

const MappingSlot* slot_of(std::uintptr_t address) {
  for (const MappingSlot& slot : slots) {
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    if (begin != 0 && address >= begin && address < slot.end.load(std::memory_order_relaxed)) return &slot;
  }
  return nullptr;
}

void report(int signal_number, siginfo_t* info, void*) {
  const MappingSlot* slot = slot_of(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (slot == nullptr) {
    // Returning repeats the faulting instruction, now with the default action.
    ::signal(signal_number, SIG_DFL);
    return;
  }
  print("rapt: ");
  print(slot->file.data());
  print(": was truncated, or its disk failed, while in use; restore the file and start again\n");
  _exit(1);
}

}  // namespace

void install_sigbus_message() {
  struct sigaction action {};
  action.sa_sigaction = report;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

NamedMapping::NamedMapping(const void* begin, std::size_t size, std::string_view file) {
  for (MappingSlot& slot : slots) {
    if (slot.taken.exchange(true)) continue;
    const std::string name = printable(file, slot.file.size() - 32);
    std::memcpy(slot.file.data(), name.c_str(), name.size() + 1);
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    slot.end.store(address + size, std::memory_order_relaxed);
    slot.begin.store(address, std::memory_order_release);
    slot_ = &slot;
    return;
  }
}

NamedMapping::~NamedMapping() {
  if (slot_ == nullptr) return;
  slot_->begin.store(0);
  slot_->taken.store(false);
}

}  // namespace rapt
