# Sourced by the scripts that run tests: where there is room, their files lie in memory, as thousands of small databases
# wait for the disk else. Set TMPDIR to have them elsewhere.
if [ -z "${TMPDIR:-}" ] && [ -d /dev/shm ] && [ -w /dev/shm ]; then
    if [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -ge 2000000 ]; then
        TMPDIR=/dev/shm
        export TMPDIR
    fi
fi
