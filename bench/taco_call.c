/* What calls a kernel that TACO wrote: compiled behind it, in one file.
 *
 * TACO's struct differs between its versions, so that its fields are set here, by name.  The
 * macro CALL is the call of evaluate with the tensors `t` (the result), `t + 1`, ...
 */

#define MOST_TENSORS 5
#define MOST_LEVELS 3

typedef struct {
  taco_tensor_t tensors[MOST_TENSORS];
  int32_t sizes[MOST_TENSORS][MOST_LEVELS];
  uint8_t *parts[MOST_TENSORS][MOST_LEVELS][2];
  uint8_t **levels[MOST_TENSORS][MOST_LEVELS];
} held_t;

void *held_new(void) {
  held_t *held = calloc(1, sizeof(held_t));
  for (int n = 0; n < MOST_TENSORS; n++) {
    for (int k = 0; k < MOST_LEVELS; k++) held->levels[n][k] = held->parts[n][k];
    held->tensors[n].dimensions = held->sizes[n];
    held->tensors[n].indices = held->levels[n];
  }
  return held;
}

void held_size(held_t *held, int n, int mode, int32_t size) { held->sizes[n][mode] = size; }

void held_part(held_t *held, int n, int level, int part, void *array) {
  held->parts[n][level][part] = array;
}

void held_values(held_t *held, int n, void *array) { held->tensors[n].vals = array; }

void *held_part_of_result(held_t *held, int level, int part) {
  return held->parts[0][level][part];
}

void *held_values_of_result(held_t *held) { return held->tensors[0].vals; }

void held_release(held_t *held) {
  for (int k = 0; k < MOST_LEVELS; k++)
    for (int part = 0; part < 2; part++) {
      free(held->parts[0][k][part]);
      held->parts[0][k][part] = 0;
    }
  free(held->tensors[0].vals);
  held->tensors[0].vals = 0;
}

void held_free(held_t *held) {
  held_release(held);
  free(held);
}

void held_run(held_t *held) {
  taco_tensor_t *t = held->tensors;
  held_release(held);
  CALL;
}
