// The other core's functions: see ../src/lib.rs.
#pragma once
#include <stdint.h>

int64_t other_wallet_counts_rows(const char *path);
int32_t other_wallet_forbids_its_sqlite_memory(void);
int32_t other_wallet_signs(void);
int32_t other_wallet_survives_a_panic(void);
