/* harpoon/setup.h: the words of the binary that set things up and end. Each returns the exit code,
 * after saying on stderr what went wrong. */
#pragma once

#include "harpoon/config.h"

int setup_migrate(const struct harpoon_config *config);
int setup_seed(const struct harpoon_config *config);
int setup_account_create(const struct harpoon_config *config);
int setup_token_create(const struct harpoon_config *config);
