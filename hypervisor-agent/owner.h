/* hypervisor-agent/owner.h: the struct that embeds what a pointer points to. */
#pragma once

#include <stddef.h>

#define OWNER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
