#!/bin/sh
# Compiles a peer in C for this very machine and runs it:
#
#   native.sh openblas|connect4_plain [arguments]
#   native.sh NAME --find        only compiles; the exit status says whether the peer can run here
#
# The binary is kept in build/peers and made again when its source or this file is newer. CC chooses the compiler.
set -e
here=$(cd "$(dirname "$0")" && pwd)
name=$1
shift
case $name in
  # Fast math for the peer's sake: loops with expf and sums then vectorise. Ours never has it.
  openblas) flags="-O3 -march=native -ffast-math -fopenmp" libraries="-lopenblas -lm" ;;
  connect4_plain) flags="-O3 -march=native" libraries="" ;;
  *) echo "native.sh: no peer \"$name\"; there are openblas and connect4_plain" >&2; exit 2 ;;
esac
binary=$here/../../build/peers/$name
if [ -z "$(find "$binary" -newer "$here/$name.c" -newer "$here/native.sh" 2>/dev/null)" ]; then
  mkdir -p "$(dirname "$binary")"
  # shellcheck disable=SC2086 # several words
  "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra $flags -o "$binary.$$" "$here/$name.c" $libraries
  mv "$binary.$$" "$binary" # another process may be running the old one
fi
[ "$1" = --find ] && exit 0
# A core type or a cache size below the machine's would slow OpenBLAS down; its OpenMP build wants threads that stay.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_PROC_BIND=true OMP_PLACES=cores
exec "$binary" "$@"
