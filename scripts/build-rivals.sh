#!/bin/sh
# Rivals for make bench, into a folder: openvino-genai in an environment of its own, and llama.cpp's own server,
# compiled for this machine from the source that llama-cpp-python carries (a quarter of an hour of processor time).
set -e
python=$1 into=$2 source=llama_cpp_python-0.3.36
mkdir -p "$into"
here=$(cd "$into" && pwd)
echo "Installing requirements-bench.txt"
"$python" -m venv --clear "$here/python"
"$here/python/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt

# Every instruction set that the CPU has, by name: llama.cpp's own detection has chosen some that crashed. Where the
# system tells none (not Linux on x86), that detection is left to choose.
sets=
if grep -qs '^flags' /proc/cpuinfo; then
    sets=-DGGML_NATIVE=OFF
    for pair in avx2:AVX2 bmi2:BMI2 fma:FMA f16c:F16C avx_vnni:AVX_VNNI avx512f:AVX512 avx512vbmi:AVX512_VBMI \
        avx512_vnni:AVX512_VNNI avx512_bf16:AVX512_BF16; do
        grep -qw "${pair%:*}" /proc/cpuinfo && sets="$sets -DGGML_${pair#*:}=ON"
    done
fi
echo "Compiling llama-server of $source with $sets"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
    "llama-cpp-python==${source#*-}" --dest "$here"
tar -xzf "$here/$source.tar.gz" -C "$here"
PATH="$here/python/bin:$PATH"
# shellcheck disable=SC2086
cmake -S "$here/$source/vendor/llama.cpp" -B "$here/build" -G Ninja -DCMAKE_BUILD_TYPE=Release $sets \
    -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF >"$here/build.log"
cmake --build "$here/build" --target llama-server >>"$here/build.log"
cp "$here/build/bin/llama-server" "$here/"
rm -rf "$here/build" "${here:?}/$source" "$here/$source.tar.gz"
