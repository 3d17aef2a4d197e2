/* harpoon/api/message.h: an event as it travels through the broker. Pure. */
#pragma once

#include "harpoon/event.h"
#include "lib/uuid.h"
#include "proto/event.pb-c.h"

/* All but the params. `ret` points into `event` and `journal_text` and lives no longer. */
void message_fill(const struct event *event, char journal_text[UUID_TEXT], int64_t now_ms,
                  Harpoon__Event__V1__Event *ret);
