// Runs `model` on a ramp from 0 to 1, from four threads at once, each with a session of its own.
//
//     sparsec compile model.onnx --target x86 --emit obj -o model.o
//     c++ -std=c++17 -O2 main.cpp model.o -lpthread -o main && ./main
#include "model.h"
#include "sparsec.hpp"

#include <cstdio>
#include <thread>

static float first_output() {
    sparsec::Session session(SPARSEC_MODEL(model));
    auto input = session.input<float>(0);
    for (std::size_t i = 0; i < input.size(); i++) input[i] = static_cast<float>(i) / static_cast<float>(input.size());
    session.run();
    return session.output<float>(0)[0];
}

int main() try {
    float results[4];
    std::vector<std::thread> threads;
    for (float &result : results) threads.emplace_back([&result] { result = first_output(); });
    for (std::thread &thread : threads) thread.join();
    for (float result : results) std::printf("first value %g\n", result);
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
