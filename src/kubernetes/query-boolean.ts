/**
 * A boolean query parameter as API servers read it (apimachinery's Convert_Slice_string_To_bool): absent, `0` and `false`
 * in any case are false; every other value is true, the empty one too.
 */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}
